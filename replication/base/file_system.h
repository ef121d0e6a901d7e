// The file-system seam: every access to the data directory goes through these two interfaces.
//
// Each call carries a label that names the step it belongs to ("commit: append log"), so that a fault
// injector or a simulator can fail, tear or delay exactly that step, and so that an error says what was being
// done.
//
// Descriptor tables. The process has two (docs/how-it-works.md, Threads): the threads that use the mount must
// not hold /dev/fuse. A File belongs to the table of the thread that opened it; use from the other table is
// a bug (the number means something else there) and ends the process.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "replication/base/bytes.h"
#include "replication/base/error.h"

namespace rillfs {

/// Names the step an access belongs to. Always a string literal.
using Label = std::string_view;

/// One open file. Offsets and sizes in bytes. Threads: any of the opening descriptor table, calls are
/// independent system calls and not ordered by this class.
class File {
 public:
  virtual ~File() = default;
  /// Reads up to `into.size()` bytes; fewer only at the end of the file.
  virtual Result<std::size_t> read_at(MutableBytes into, std::uint64_t offset, Label label) = 0;
  /// Writes all of `bytes`, or fails; after a failure any part may have been written.
  virtual Result<void> write_at(Bytes bytes, std::uint64_t offset, Label label) = 0;
  virtual Result<void> truncate(std::uint64_t size, Label label) = 0;
  virtual Result<std::uint64_t> size(Label label) = 0;
  /// Bytes up to the end that are not in holes: what the file really has. May be more, up to the size, where
  /// the file system cannot say.
  virtual Result<std::uint64_t> data_size(Label label) { return size(label); }
  /// fdatasync: data, and the metadata needed to read it back, are durable. Never retry a failure.
  virtual Result<void> sync_data(Label label) = 0;

  /// From now on nobody can change the file's content, whoever has it open for writing already: EPERM. For
  /// good; a file that still has a name can then not be removed either. That a file system takes it does not
  /// mean that it keeps it: see `ends_writes`.
  virtual Result<void> end_writes(Label label) {
    return make_error(ErrorCode::kUnsupported,
                      std::string(label) + ": files cannot be closed to writers here");
  }

  /// What memory holds of [offset, offset + size) and the disk has as well may be forgotten, so that the next
  /// read asks the disk. A wish.
  virtual void drop_cached(std::uint64_t offset, std::uint64_t size) { (void)offset, (void)size; }

  /// Reads exactly `into.size()` bytes; kCorrupt if the file ends before.
  Result<void> read_exact_at(MutableBytes into, std::uint64_t offset, Label label);
};

enum class OpenMode {
  kRead,       ///< must exist
  kReadWrite,  ///< must exist
  kCreate,     ///< read-write, created if missing, kept if present
  kCreateNew,  ///< read-write, must not exist
};

struct DirectoryEntry {
  std::string name;
  bool is_directory = false;
};

/// Paths are bytes, absolute or relative to the working directory. Threads: any.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode, Label label) = 0;
  /// An unnamed file in `directory` that vanishes with its last descriptor.
  virtual Result<std::unique_ptr<File>> open_unnamed(const std::string& directory, Label label) = 0;
  virtual Result<void> rename(const std::string& from, const std::string& to, Label label) = 0;
  /// Removes a file or an empty directory. kNotFound if it is not there.
  virtual Result<void> remove(const std::string& path, Label label) = 0;
  /// Creates the directory and its parents as needed; mode 0755 less the umask.
  virtual Result<void> make_directories(const std::string& path, Label label) = 0;
  /// Entries without "." and "..", in no order.
  virtual Result<std::vector<DirectoryEntry>> list(const std::string& path, Label label) = 0;
  virtual Result<void> sync_directory(const std::string& path, Label label) = 0;
  virtual Result<bool> exists(const std::string& path, Label label) = 0;
  /// Bytes that files there can still grow by, as far as is known; quotas are not.
  virtual std::uint64_t room(const std::string& directory) {
    (void)directory;
    return UINT64_MAX;
  }
};

/// The kernel's file system.
class PosixFileSystem final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode, Label label) override;
  Result<std::unique_ptr<File>> open_unnamed(const std::string& directory, Label label) override;
  Result<void> rename(const std::string& from, const std::string& to, Label label) override;
  Result<void> remove(const std::string& path, Label label) override;
  Result<void> make_directories(const std::string& path, Label label) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& path, Label label) override;
  Result<void> sync_directory(const std::string& path, Label label) override;
  Result<bool> exists(const std::string& path, Label label) override;
  std::uint64_t room(const std::string& directory) override;
};

/// Takes over `fd`, which the File closes.
std::unique_ptr<File> adopt_file(int fd, std::string path);

/// Whether File::end_writes does what it says for files in `directory`. Tried with a file that has no name.
bool ends_writes(FileSystem& files, const std::string& directory);

/// Which descriptor table the calling thread belongs to: 0 for the process's first. A thread that has called
/// unshare(CLONE_FILES) says so once with `enter_descriptor_table`; threads inherit nothing and must say it
/// too.
int descriptor_table();
void enter_descriptor_table(int number);

/// Writes a small file so that after a crash either the old or the new content is there: temporary file,
/// fdatasync, rename, sync of the directory.
Result<void> replace_file(FileSystem& files, const std::string& path, Bytes content, Label label);
/// Removes a file; that there is none is no error.
Result<void> remove_if_there(FileSystem& files, const std::string& path, Label label);
/// Removes a directory with everything in it.
Result<void> remove_tree(FileSystem& files, const std::string& path, Label label);
/// Whole content of a small file; kInvalid if it is larger than `size_max`.
Result<Buffer> read_file(FileSystem& files, const std::string& path, std::size_t size_max, Label label);

}  // namespace rillfs
