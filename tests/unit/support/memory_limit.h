// While it lives, the process may map only so many bytes more than it has: what would allocate by a claim
// fails with bad_alloc instead of taking the machine's memory. Without effect under sanitizers, which map
// terabytes of their own.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <fstream>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RILL_TEST_SANITIZED 1
#endif

namespace rillfs::test {

class MemoryLimit {
 public:
  explicit MemoryLimit(std::uint64_t more_bytes) {
    ::getrlimit(RLIMIT_AS, &before_);
#ifndef RILL_TEST_SANITIZED
    std::uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit limit = before_;
    limit.rlim_cur = pages * 4096 + more_bytes;
    ::setrlimit(RLIMIT_AS, &limit);
#else
    (void)more_bytes;
#endif
  }
  ~MemoryLimit() { ::setrlimit(RLIMIT_AS, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_{};
};

}  // namespace rillfs::test
