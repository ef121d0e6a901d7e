// The comparison for the benchmark: the least that a FUSE file system can do.
//
// Every request becomes the same system call on a backing directory; nothing is looked at, counted or logged.
// The kernel is told to cache what it may, exactly as in the mount of rillfs: locks stay in the kernel, pages
// in its cache, names (also those that do not exist) and attributes for an hour. What is slower than this in
// the mount of rillfs is rillfs; what is slower than the native file system here is FUSE.
//
//   bench_passthrough BACKING_DIRECTORY MOUNTPOINT     runs until it is unmounted
#define FUSE_USE_VERSION 312
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

constexpr double kCacheSeconds = 3600;

/// What the kernel knows: backing inode number -> O_PATH descriptor. The root is FUSE's 1.
class Nodes {
 public:
  explicit Nodes(int root) { nodes_[FUSE_ROOT_ID] = {root, 1}; }
  int fd(fuse_ino_t id) {
    std::scoped_lock lock(mutex_);
    auto it = nodes_.find(id);
    return it == nodes_.end() ? -1 : it->second.fd;
  }
  /// Takes over `fd`; one more reference of the kernel's.
  void add(fuse_ino_t id, int fd) {
    std::scoped_lock lock(mutex_);
    auto [it, fresh] = nodes_.try_emplace(id, Node{fd, 0});
    if (!fresh) ::close(fd);
    ++it->second.lookups;
  }
  void forget(fuse_ino_t id, std::uint64_t count) {
    std::scoped_lock lock(mutex_);
    auto it = nodes_.find(id);
    if (it == nodes_.end() || id == FUSE_ROOT_ID) return;
    if (it->second.lookups > count) {
      it->second.lookups -= count;
      return;
    }
    ::close(it->second.fd);
    nodes_.erase(it);
  }

 private:
  struct Node {
    int fd;
    std::uint64_t lookups;
  };
  std::mutex mutex_;
  std::unordered_map<fuse_ino_t, Node> nodes_;
};

Nodes& nodes(fuse_req_t request) { return *static_cast<Nodes*>(fuse_req_userdata(request)); }

std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

void answer(fuse_req_t request, long result) { fuse_reply_err(request, result < 0 ? errno : 0); }

/// Looks the name up in the backing directory and makes it known. Returns 0 or an errno.
int find(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_entry_param& entry) {
  entry = {};
  entry.attr_timeout = entry.entry_timeout = kCacheSeconds;
  const int fd = ::openat(nodes(request).fd(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno;
  if (::fstatat(fd, "", &entry.attr, AT_EMPTY_PATH) < 0) {
    const int error = errno;
    ::close(fd);
    return error;
  }
  entry.ino = entry.attr.st_ino;
  nodes(request).add(entry.ino, fd);
  return 0;
}

void on_init(void*, fuse_conn_info* connection) {
  connection->want &= ~static_cast<unsigned>(
      FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA |
      FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  fuse_entry_param entry;
  const int error = find(request, parent, name, entry);
  // Inode 0: the kernel remembers that there is no such name.
  if (error != 0 && error != ENOENT) return void(fuse_reply_err(request, error));
  fuse_reply_entry(request, &entry);
}

void on_forget(fuse_req_t request, fuse_ino_t id, std::uint64_t count) {
  nodes(request).forget(id, count);
  fuse_reply_none(request);
}

void on_getattr(fuse_req_t request, fuse_ino_t id, fuse_file_info*) {
  struct stat status {};
  if (::fstatat(nodes(request).fd(id), "", &status, AT_EMPTY_PATH) < 0) return answer(request, -1);
  fuse_reply_attr(request, &status, kCacheSeconds);
}

void on_setattr(fuse_req_t request, fuse_ino_t id, struct stat* wanted, int set, fuse_file_info* info) {
  const std::string path = proc_path(nodes(request).fd(id));
  if ((set & FUSE_SET_ATTR_MODE) != 0 && ::chmod(path.c_str(), wanted->st_mode) < 0)
    return answer(request, -1);
  if ((set & FUSE_SET_ATTR_SIZE) != 0) {
    const int done = info != nullptr ? ::ftruncate(static_cast<int>(info->fh), wanted->st_size)
                                     : ::truncate(path.c_str(), wanted->st_size);
    if (done < 0) return answer(request, -1);
  }
  on_getattr(request, id, nullptr);
}

void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  if (::mkdirat(nodes(request).fd(parent), name, mode) < 0) return answer(request, -1);
  on_lookup(request, parent, name);
}

void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer(request, ::unlinkat(nodes(request).fd(parent), name, 0));
}

void on_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer(request, ::unlinkat(nodes(request).fd(parent), name, AT_REMOVEDIR));
}

void on_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  answer(request,
         ::renameat2(nodes(request).fd(parent), name, nodes(request).fd(new_parent), new_name, flags));
}

void on_open(fuse_req_t request, fuse_ino_t id, fuse_file_info* info) {
  const int fd = ::open(proc_path(nodes(request).fd(id)).c_str(), (info->flags & ~O_NOFOLLOW) | O_CLOEXEC);
  if (fd < 0) return answer(request, -1);
  info->fh = static_cast<std::uint64_t>(fd);
  info->keep_cache = 1;
  fuse_reply_open(request, info);
}

void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* info) {
  const int fd =
      ::openat(nodes(request).fd(parent), name, (info->flags & ~O_NOFOLLOW) | O_CREAT | O_CLOEXEC, mode);
  if (fd < 0) return answer(request, -1);
  fuse_entry_param entry;
  if (const int error = find(request, parent, name, entry); error != 0) {
    ::close(fd);
    return void(fuse_reply_err(request, error));
  }
  info->fh = static_cast<std::uint64_t>(fd);
  info->keep_cache = 1;
  fuse_reply_create(request, &entry, info);
}

void on_read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info* info) {
  thread_local std::vector<char> buffer;
  if (buffer.size() < size) buffer.resize(size);
  const ssize_t n = ::pread(static_cast<int>(info->fh), buffer.data(), size, offset);
  if (n < 0) return answer(request, -1);
  fuse_reply_buf(request, buffer.data(), static_cast<std::size_t>(n));
}

void on_write(fuse_req_t request, fuse_ino_t, const char* data, std::size_t size, off_t offset,
              fuse_file_info* info) {
  const ssize_t n = ::pwrite(static_cast<int>(info->fh), data, size, offset);
  if (n < 0) return answer(request, -1);
  fuse_reply_write(request, static_cast<std::size_t>(n));
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  answer(request, ::close(static_cast<int>(info->fh)));
}

void on_fsync(fuse_req_t request, fuse_ino_t, int data_only, fuse_file_info* info) {
  const int fd = static_cast<int>(info->fh);
  answer(request, data_only != 0 ? ::fdatasync(fd) : ::fsync(fd));
}

void on_fsyncdir(fuse_req_t request, fuse_ino_t id, int, fuse_file_info*) {
  const int fd = ::open(proc_path(nodes(request).fd(id)).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int done = fd < 0 ? -1 : ::fsync(fd);
  answer(request, done);
  if (fd >= 0) ::close(fd);
}

void on_statfs(fuse_req_t request, fuse_ino_t id) {
  struct statvfs status {};
  if (::fstatvfs(nodes(request).fd(id), &status) < 0) return answer(request, -1);
  fuse_reply_statfs(request, &status);
}

fuse_lowlevel_ops make_table() {
  fuse_lowlevel_ops table{};
  table.init = on_init;
  table.lookup = on_lookup;
  table.forget = on_forget;
  table.getattr = on_getattr;
  table.setattr = on_setattr;
  table.mkdir = on_mkdir;
  table.unlink = on_unlink;
  table.rmdir = on_rmdir;
  table.rename = on_rename;
  table.open = on_open;
  table.create = on_create;
  table.read = on_read;
  table.write = on_write;
  table.release = on_release;
  table.fsync = on_fsync;
  table.fsyncdir = on_fsyncdir;
  table.statfs = on_statfs;
  // No flush, access or xattr: the kernel hears ENOSYS once and does not ask again.
  return table;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: bench_passthrough BACKING_DIRECTORY MOUNTPOINT\n");
    return 2;
  }
  ::umask(0);
  const int root = ::open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return std::perror(argv[1]), 1;
  Nodes known(root);
  const char* words[] = {"passthrough", "-o", "default_permissions,fsname=bench_passthrough", nullptr};
  fuse_args args = FUSE_ARGS_INIT(3, const_cast<char**>(words));
  const fuse_lowlevel_ops table = make_table();
  fuse_session* session = fuse_session_new(&args, &table, sizeof table, &known);
  if (session == nullptr || fuse_session_mount(session, argv[2]) != 0) return 1;
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 0);
  const int result = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  fuse_opt_free_args(&args);
  return result == 0 ? 0 : 1;
}
