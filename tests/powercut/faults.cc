// Preloaded into a daemon by the power-cut tests: breaks one rule of it, or ends it at one of its steps.
//
//   POWERCUT_BREAK=segments   fdatasync of log segments does nothing: the negative control
//   POWERCUT_DIE_AT=N         SIGKILL before the N-th call that changes a file
#include <dlfcn.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

std::atomic<int> steps{0};

int die_at() {
  static const int number = [] {
    const char* text = std::getenv("POWERCUT_DIE_AT");
    return text ? std::atoi(text) : 0;
  }();
  return number;
}

void step() {
  if (die_at() != 0 && steps.fetch_add(1) + 1 == die_at()) ::kill(::getpid(), SIGKILL);
}

bool is_broken_segment(int fd) {
  const char* broken = std::getenv("POWERCUT_BREAK");
  if (!broken || std::strcmp(broken, "segments") != 0) return false;
  char path[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t n = ::readlink(link.c_str(), path, sizeof path);
  return n > 4 && std::string(path, static_cast<std::size_t>(n)).ends_with(".seg");
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int fdatasync(int fd) {
  step();
  static auto* call = real<int(int)>("fdatasync");
  return is_broken_segment(fd) ? 0 : call(fd);
}

int fsync(int fd) {
  step();
  static auto* call = real<int(int)>("fsync");
  return call(fd);
}

int rename(const char* from, const char* to) noexcept {
  step();
  static auto* call = real<int(const char*, const char*)>("rename");
  return call(from, to);
}

int remove(const char* path) noexcept {
  step();
  static auto* call = real<int(const char*)>("remove");
  return call(path);
}

int ftruncate(int fd, off_t size) noexcept {
  step();
  static auto* call = real<int(int, off_t)>("ftruncate");
  return call(fd, size);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  step();
  static auto* call = real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return call(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  step();
  static auto* call = real<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  return call(fd, data, size, offset);
}

int ftruncate64(int fd, off64_t size) noexcept {
  step();
  static auto* call = real<int(int, off64_t)>("ftruncate64");
  return call(fd, size);
}

}  // extern "C"
