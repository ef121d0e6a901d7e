// Has the kernel begin to write a large new file to the disk while it is being made, so that its sync at the
// end finds little left to do. A wish: nothing depends on it, and errors are the sync's to report.
#pragma once

#include <cstdint>
#include <string>

namespace rillfs {

/// Threads: one at a time, of the descriptor table that opened it.
class WriteBehind {
 public:
  WriteBehind() = default;
  ~WriteBehind();
  WriteBehind(const WriteBehind&) = delete;
  WriteBehind& operator=(const WriteBehind&) = delete;

  void open(const std::string& path);
  /// The file is written up to `end`, bytes from its start. What comes out of order is left to the sync.
  void written(std::uint64_t end);

 private:
  int fd_ = -1;
  std::uint64_t begun_ = 0;
};

}  // namespace rillfs
