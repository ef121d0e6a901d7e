#include "replication/base/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "replication/base/failpoint.h"
#include "replication/base/waiting.h"

namespace rillfs {
namespace {

thread_local int this_descriptor_table = 0;

std::string describe(Label label, const std::string& path) { return std::string(label) + ": " + path; }

/// Repeats a system call that a signal interrupted.
template <class Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), table_(this_descriptor_table), path_(std::move(path)) {}
  ~PosixFile() override {
    require_own_table();
    ::close(fd_);
  }

  Result<std::size_t> read_at(MutableBytes into, std::uint64_t offset, Label label) override {
    require_own_table();
    std::size_t done = 0;
    while (done < into.size()) {
      ssize_t n = uninterrupted([&] {
        return ::pread(fd_, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
      });
      if (n < 0) return errno_error(errno, describe(label, path_));
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  Result<void> write_at(Bytes bytes, std::uint64_t offset, Label label) override {
    require_own_table();
    auto allowed = failpoint::attempt("file.write", label);
    if (!allowed && !failpoint::writes_half()) return allowed;
    if (!allowed) bytes = bytes.first(bytes.size() / 2);
    std::size_t done = 0;
    while (done < bytes.size()) {
      ssize_t n = uninterrupted([&] {
        return ::pwrite(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
      });
      if (n < 0) return errno_error(errno, describe(label, path_));
      if (n == 0) return errno_error(EIO, describe(label, path_));
      done += static_cast<std::size_t>(n);
    }
    return allowed;
  }

  Result<void> truncate(std::uint64_t size, Label label) override {
    require_own_table();
    RILL_TRY(failpoint::attempt("file.truncate", label));
    if (uninterrupted([&] { return ::ftruncate(fd_, static_cast<off_t>(size)); }) < 0) {
      return errno_error(errno, describe(label, path_));
    }
    return {};
  }

  Result<std::uint64_t> size(Label label) override {
    require_own_table();
    struct stat status {};
    if (::fstat(fd_, &status) < 0) return errno_error(errno, describe(label, path_));
    return static_cast<std::uint64_t>(status.st_size);
  }

  Result<std::uint64_t> data_size(Label label) override {
    require_own_table();
    std::uint64_t total = 0;
    for (off_t at = 0;;) {
      const off_t from = ::lseek(fd_, at, SEEK_DATA);
      if (from < 0 && errno == ENXIO) return total;  // nothing but a hole follows
      const off_t to = from < 0 ? -1 : ::lseek(fd_, from, SEEK_HOLE);
      if (to < 0) return errno_error(errno, describe(label, path_));
      total += static_cast<std::uint64_t>(to - from);
      at = to;
    }
  }

  Result<void> sync_data(Label label) override {
    require_own_table();
    RILL_TRY(failpoint::attempt("file.sync", label));
    about_to_sync();
    if (::fdatasync(fd_) < 0) return errno_error(errno, describe(label, path_));
    return {};
  }

  Result<void> end_writes(Label label) override {
    require_own_table();
    int flags = 0;
    if (::ioctl(fd_, FS_IOC_GETFLAGS, &flags) < 0) return errno_error(errno, describe(label, path_));
    flags |= FS_IMMUTABLE_FL;
    if (::ioctl(fd_, FS_IOC_SETFLAGS, &flags) < 0) return errno_error(errno, describe(label, path_));
    return {};
  }

  void drop_cached(std::uint64_t offset, std::uint64_t size) override {
    require_own_table();
    (void)::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(size), POSIX_FADV_DONTNEED);
  }

 private:
  void require_own_table() const {
    if (table_ == this_descriptor_table) return;
    std::fprintf(stderr, "bug: %s was opened in descriptor table %d and used in %d\n", path_.c_str(), table_,
                 this_descriptor_table);
    std::abort();
  }

  const int fd_;
  const int table_;
  const std::string path_;
};

int open_flags(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead:
      return O_RDONLY;
    case OpenMode::kReadWrite:
      return O_RDWR;
    case OpenMode::kCreate:
      return O_RDWR | O_CREAT;
    case OpenMode::kCreateNew:
      return O_RDWR | O_CREAT | O_EXCL;
  }
  return O_RDONLY;
}

Result<void> require_directory(const std::string& path, Label label) {
  struct stat status {};
  if (::stat(path.c_str(), &status) < 0) return errno_error(errno, describe(label, path));
  if (!S_ISDIR(status.st_mode)) return errno_error(ENOTDIR, describe(label, path));
  return {};
}

std::string parent_of(const std::string& path) {
  auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

int descriptor_table() { return this_descriptor_table; }
void enter_descriptor_table(int number) { this_descriptor_table = number; }

std::unique_ptr<File> adopt_file(int fd, std::string path) {
  return std::make_unique<PosixFile>(fd, std::move(path));
}

Result<void> File::read_exact_at(MutableBytes into, std::uint64_t offset, Label label) {
  RILL_ASSIGN(std::size_t n, read_at(into, offset, label));
  if (n == into.size()) return {};
  return make_error(ErrorCode::kCorrupt, std::string(label) + ": file ends at " + std::to_string(offset + n) +
                                             ", " + std::to_string(into.size() - n) + " bytes missing");
}

Result<std::unique_ptr<File>> PosixFileSystem::open(const std::string& path, OpenMode mode, Label label) {
  const bool creates = mode == OpenMode::kCreate || mode == OpenMode::kCreateNew;
  if (creates) RILL_TRY(failpoint::attempt("file.create", label));
  int fd = uninterrupted([&] { return ::open(path.c_str(), open_flags(mode) | O_CLOEXEC, 0644); });
  if (fd < 0) return errno_error(errno, describe(label, path));
  return adopt_file(fd, path);
}

Result<std::unique_ptr<File>> PosixFileSystem::open_unnamed(const std::string& directory, Label label) {
  RILL_TRY(failpoint::attempt("file.create", label));
  int fd = uninterrupted([&] { return ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); });
  if (fd >= 0) return adopt_file(fd, directory + "/(unnamed)");
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
    return errno_error(errno, describe(label, directory));
  // A file system without O_TMPFILE: make a named one and remove the name.
  std::string name = directory + "/unnamed-XXXXXX";
  fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return errno_error(errno, describe(label, directory));
  ::unlink(name.c_str());
  return adopt_file(fd, name);
}

Result<void> PosixFileSystem::rename(const std::string& from, const std::string& to, Label label) {
  RILL_TRY(failpoint::attempt("file.rename", label));
  if (::rename(from.c_str(), to.c_str()) < 0) return errno_error(errno, describe(label, from + " -> " + to));
  return {};
}

Result<void> PosixFileSystem::remove(const std::string& path, Label label) {
  RILL_TRY(failpoint::attempt("file.remove", label));
  if (::remove(path.c_str()) < 0) return errno_error(errno, describe(label, path));
  return {};
}

Result<void> PosixFileSystem::make_directories(const std::string& path, Label label) {
  RILL_TRY(failpoint::attempt("file.make_directory", label));
  if (::mkdir(path.c_str(), 0755) == 0) return {};
  int error = errno;
  if (error == EEXIST) return require_directory(path, label);
  if (error != ENOENT) return errno_error(error, describe(label, path));
  std::string parent = parent_of(path);
  if (parent == path) return errno_error(error, describe(label, path));
  RILL_TRY(make_directories(parent, label));
  if (::mkdir(path.c_str(), 0755) < 0 && errno != EEXIST) return errno_error(errno, describe(label, path));
  return {};
}

Result<std::vector<DirectoryEntry>> PosixFileSystem::list(const std::string& path, Label label) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  if (!directory) return errno_error(errno, describe(label, path));
  std::vector<DirectoryEntry> entries;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (!entry) break;
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    bool is_directory = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN) {
      struct stat status {};
      if (::lstat((path + "/" + name).c_str(), &status) == 0) is_directory = S_ISDIR(status.st_mode);
    }
    entries.push_back({std::move(name), is_directory});
  }
  if (errno != 0) return errno_error(errno, describe(label, path));
  return entries;
}

Result<void> PosixFileSystem::sync_directory(const std::string& path, Label label) {
  RILL_TRY(failpoint::attempt("file.sync_directory", label));
  int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno_error(errno, describe(label, path));
  about_to_sync();
  int error = ::fsync(fd) < 0 ? errno : 0;
  ::close(fd);
  if (error != 0) return errno_error(error, describe(label, path));
  return {};
}

Result<bool> PosixFileSystem::exists(const std::string& path, Label label) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return errno_error(errno, describe(label, path));
}

std::uint64_t PosixFileSystem::room(const std::string& directory) {
  struct statvfs status {};
  if (::statvfs(directory.c_str(), &status) < 0) return UINT64_MAX;
  // What is reserved is reserved for root.
  return std::uint64_t{::geteuid() == 0 ? status.f_bfree : status.f_bavail} * status.f_frsize;
}

bool ends_writes(FileSystem& files, const std::string& directory) {
  constexpr Label kTry = "try to close a file to writers";
  auto file = files.open_unnamed(directory, kTry);
  const std::uint8_t byte = 0;
  if (!file || !(*file)->end_writes(kTry)) return false;
  return !(*file)->write_at(Bytes(&byte, 1), 0, kTry);
}

Result<void> remove_if_there(FileSystem& files, const std::string& path, Label label) {
  auto removed = files.remove(path, label);
  if (!removed && removed.error().code != ErrorCode::kNotFound) return removed;
  return {};
}

Result<void> replace_file(FileSystem& files, const std::string& path, Bytes content, Label label) {
  const std::string temporary = path + ".tmp";
  {
    RILL_ASSIGN(auto file, files.open(temporary, OpenMode::kCreate, label));
    RILL_TRY(file->truncate(0, label));
    RILL_TRY(file->write_at(content, 0, label));
    RILL_TRY(file->sync_data(label));
  }
  RILL_TRY(files.rename(temporary, path, label));
  return files.sync_directory(parent_of(path), label);
}

Result<void> remove_tree(FileSystem& files, const std::string& path, Label label) {
  RILL_ASSIGN(auto entries, files.list(path, label));
  for (const DirectoryEntry& entry : entries) {
    const std::string child = path + "/" + entry.name;
    RILL_TRY(entry.is_directory ? remove_tree(files, child, label) : files.remove(child, label));
  }
  return files.remove(path, label);
}

Result<Buffer> read_file(FileSystem& files, const std::string& path, std::size_t size_max, Label label) {
  RILL_ASSIGN(auto file, files.open(path, OpenMode::kRead, label));
  RILL_ASSIGN(std::uint64_t size, file->size(label));
  if (size > size_max) {
    return make_error(ErrorCode::kInvalid, path + " has " + std::to_string(size) + " bytes; at most " +
                                               std::to_string(size_max) + " make sense here");
  }
  Buffer content(size);
  RILL_TRY(file->read_exact_at(content, 0, label));
  return content;
}

}  // namespace rillfs
