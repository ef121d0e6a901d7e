// A file descriptor with an owner, for what the File seam does not have: locks and mappings.
//
// Closing any descriptor of a file drops every POSIX lock that the process has on it, including those of a
// sqlite3* connection. Whoever has such a connection keeps its descriptors open as long as the connection.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <utility>

#include "replication/base/bytes.h"
#include "replication/base/error.h"

namespace rillfs::apply {

/// Threads: any; the calls are independent system calls.
class Descriptor {
 public:
  Descriptor() = default;
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  /// Opens an existing file for reading and writing.
  static Result<Descriptor> open(const std::string& path);

  int get() const { return fd_; }
  void close();

  /// Reads up to `into.size()` bytes; fewer only at the end of the file.
  Result<std::size_t> read_at(MutableBytes into, std::uint64_t offset) const;
  /// Writes all of `bytes`, or fails; after a failure any part may have been written.
  Result<void> write_at(Bytes bytes, std::uint64_t offset) const;
  Result<void> truncate(std::uint64_t size) const;
  /// As the kernel knows it: a file in the mount is not asked for again.
  Result<std::uint64_t> size() const;

 private:
  int fd_ = -1;
};

/// What tells a file from another one.
struct FileIdentity {
  std::uint64_t inode = 0;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};
Result<FileIdentity> identity_of(const Descriptor& opened);

/// Nothing is wrong if `path` still names this file; kNotFound or kInvalid if it is gone or replaced.
Result<void> check_same_file(const std::string& path, const FileIdentity& opened);

}  // namespace rillfs::apply
