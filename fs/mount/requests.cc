#include "fs/mount/requests.h"

#include <dirent.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

namespace rillfs::mount {
namespace {

/// Attributes and names only change through this mount, so that the kernel may keep them for ever.
constexpr double kForeverSeconds = 1e9;
/// Handle bits: all that a handle knows.
constexpr std::uint64_t kDaemonHandle = 1;

RequestContext& context(fuse_req_t request) {
  return *static_cast<RequestContext*>(fuse_req_userdata(request));
}

Requester requester(fuse_req_t request) {
  const fuse_ctx* who = fuse_req_ctx(request);
  const bool daemon = context(request).daemon_threads.contains(who->pid);
  return {daemon ? Caller::kDaemon : Caller::kApplication, who->pid, who->uid, who->gid};
}

Caller caller_of(const fuse_file_info* info) {
  return info != nullptr && (info->fh & kDaemonHandle) != 0 ? Caller::kDaemon : Caller::kApplication;
}

/// Replies are written to the device, which only one descriptor table has.
void require_device() {
  if (descriptor_table() == 0) return;
  spdlog::critical("bug: a request is answered by a thread without the device");
  std::abort();
}

void reply(fuse_req_t request, const Result<void>& result) {
  require_device();
  fuse_reply_err(request, result ? 0 : to_errno(result.error()));
}

fuse_entry_param entry_param(const Entry& entry) {
  fuse_entry_param param{};
  param.ino = entry.id;
  param.generation = 1;
  param.attr = entry.status;
  param.attr.st_ino = entry.id;
  param.entry_timeout = entry.cacheable ? kForeverSeconds : 0;
  param.attr_timeout = entry.cacheable ? kForeverSeconds : 0;
  return param;
}

void reply(fuse_req_t request, const Result<Entry>& result) {
  if (!result) {
    fuse_reply_err(request, to_errno(result.error()));
    return;
  }
  fuse_entry_param param = entry_param(*result);
  fuse_reply_entry(request, &param);
}

void reply_attributes(fuse_req_t request, fuse_ino_t id, Result<struct stat> result) {
  if (!result) {
    fuse_reply_err(request, to_errno(result.error()));
    return;
  }
  result->st_ino = id;
  fuse_reply_attr(request, &*result, VirtualFiles::is_virtual(id) ? 0 : kForeverSeconds);
}

/// Runs one request's handler: counts it, and turns whatever escapes into one EIO reply.
template <class Handler>
void handle(fuse_req_t request, RequestKind kind, Handler handler) {
  context(request).counts[static_cast<std::size_t>(kind)].fetch_add(1, std::memory_order_relaxed);
  try {
    handler();
  } catch (const std::exception& e) {
    spdlog::error("bug: {} request ended with an exception: {}", to_string(kind), e.what());
    fuse_reply_err(request, EIO);
  }
}

void on_init(void* user_data, fuse_conn_info* connection) {
  // Locks stay in the kernel, writes come through at once, only we say when cached data is stale, and the
  // kernel takes S_ISUID away from what is written.
  do_without(*connection, FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_WRITEBACK_CACHE |
                              FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_SPLICE_READ |
                              FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_HANDLE_KILLPRIV);
  ask_for(*connection, FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS);
  connection->max_write = std::min(connection->max_write, kRequestSizeMax);  // of reads too
  connection->time_gran = 1;
  static_cast<RequestContext*>(user_data)->passthrough.negotiate(*connection);
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  handle(request, RequestKind::kLookup, [&] { reply(request, context(request).tree.look_up(parent, name)); });
}

void on_forget(fuse_req_t request, fuse_ino_t id, std::uint64_t count) {
  context(request).tree.forget(id, count);
  fuse_reply_none(request);
}

void on_forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets) {
  for (std::size_t i = 0; i < count; ++i) context(request).tree.forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(request);
}

void on_getattr(fuse_req_t request, fuse_ino_t id, fuse_file_info*) {
  handle(request, RequestKind::kGetattr,
         [&] { reply_attributes(request, id, context(request).tree.attributes(id)); });
}

AttributeChange attribute_change(const struct stat* attributes, int set) {
  AttributeChange change;
  if ((set & FUSE_SET_ATTR_MODE) != 0) change.mode = attributes->st_mode;
  if ((set & FUSE_SET_ATTR_UID) != 0) change.uid = attributes->st_uid;
  if ((set & FUSE_SET_ATTR_GID) != 0) change.gid = attributes->st_gid;
  if ((set & FUSE_SET_ATTR_SIZE) != 0) change.size = static_cast<std::uint64_t>(attributes->st_size);
  if ((set & FUSE_SET_ATTR_ATIME_NOW) != 0) {
    change.accessed = {0, UTIME_NOW};
  } else if ((set & FUSE_SET_ATTR_ATIME) != 0) {
    change.accessed = attributes->st_atim;
  }
  if ((set & FUSE_SET_ATTR_MTIME_NOW) != 0) {
    change.modified = {0, UTIME_NOW};
  } else if ((set & FUSE_SET_ATTR_MTIME) != 0) {
    change.modified = attributes->st_mtim;
  }
  return change;
}

void on_setattr(fuse_req_t request, fuse_ino_t id, struct stat* attributes, int set, fuse_file_info*) {
  handle(request, RequestKind::kSetattr, [&] {
    reply_attributes(
        request, id,
        context(request).tree.set_attributes(id, attribute_change(attributes, set), requester(request)));
  });
}

void on_readlink(fuse_req_t request, fuse_ino_t id) {
  handle(request, RequestKind::kOther, [&] {
    auto target = context(request).tree.read_symlink(id);
    if (!target) return void(fuse_reply_err(request, to_errno(target.error())));
    fuse_reply_readlink(request, target->c_str());
  });
}

void on_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  handle(request, RequestKind::kCreate, [&] {
    reply(request, context(request).tree.make_node(parent, name, mode, device, requester(request)));
  });
}

void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  handle(request, RequestKind::kDirectory, [&] {
    reply(request, context(request).tree.make_directory(parent, name, mode, requester(request)));
  });
}

void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  handle(request, RequestKind::kUnlink,
         [&] { reply(request, context(request).tree.unlink(parent, name, requester(request))); });
}

void on_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  handle(request, RequestKind::kDirectory,
         [&] { reply(request, context(request).tree.remove_directory(parent, name)); });
}

void on_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  handle(request, RequestKind::kCreate, [&] {
    reply(request, context(request).tree.make_symlink(target, parent, name, requester(request)));
  });
}

void on_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  handle(request, RequestKind::kRename, [&] {
    reply(request,
          context(request).tree.rename(parent, name, new_parent, new_name, flags, requester(request)));
  });
}

void on_link(fuse_req_t request, fuse_ino_t id, fuse_ino_t new_parent, const char* new_name) {
  handle(request, RequestKind::kCreate,
         [&] { reply(request, context(request).tree.make_link(id, new_parent, new_name)); });
}

void describe(const Opened& opened, fuse_file_info& info) {
  info.direct_io = opened.uncached ? 1 : 0;
  info.keep_cache = opened.uncached || opened.is_changed ? 0 : 1;
  info.noflush = opened.wants_flush ? 0 : 1;
  if (opened.backing != 0) answer_with_backing(info, opened.backing);
}

void answer_open(fuse_req_t request, fuse_ino_t id, Caller caller, fuse_file_info answer,
                 const Result<Opened>& opened) {
  require_device();
  if (!opened) return void(fuse_reply_err(request, to_errno(opened.error())));
  describe(*opened, answer);
  Tree& tree = context(request).tree;  // the request is gone after its reply
  // The caller was interrupted: the kernel will send no RELEASE.
  if (fuse_reply_open(request, &answer) == -ENOENT) tree.release(id, caller);
}

void on_open(fuse_req_t request, fuse_ino_t id, fuse_file_info* info) {
  handle(request, RequestKind::kOpen, [&] {
    const Requester who = requester(request);
    fuse_file_info answer = *info;
    answer.fh = who.caller == Caller::kDaemon ? kDaemonHandle : 0;
    context(request).tree.open_file(id, info->flags, who,
                                    [request, id, caller = who.caller, answer](const Result<Opened>& opened) {
                                      answer_open(request, id, caller, answer, opened);
                                    });
  });
}

void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* info) {
  handle(request, RequestKind::kCreate, [&] {
    const Requester who = requester(request);
    auto entry = context(request).tree.create(parent, name, mode, info->flags, who);
    if (!entry) return void(fuse_reply_err(request, to_errno(entry.error())));
    info->fh = who.caller == Caller::kDaemon ? kDaemonHandle : 0;
    describe(entry->opened, *info);
    fuse_entry_param param = entry_param(*entry);
    Tree& tree = context(request).tree;
    // The caller was interrupted: the kernel will send neither RELEASE nor FORGET.
    if (fuse_reply_create(request, &param, info) == -ENOENT) {
      tree.release(param.ino, who.caller);
      tree.forget(param.ino, 1);
    }
  });
}

void on_read(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset, fuse_file_info* info) {
  handle(request, RequestKind::kRead, [&] {
    thread_local Buffer buffer(kRequestSizeMax);
    MutableBytes into(buffer.data(), std::min(size, buffer.size()));
    auto n = context(request).tree.read(id, into, static_cast<std::uint64_t>(offset), caller_of(info));
    if (!n) return void(fuse_reply_err(request, to_errno(n.error())));
    fuse_reply_buf(request, reinterpret_cast<const char*>(buffer.data()), *n);
  });
}

void on_write(fuse_req_t request, fuse_ino_t id, const char* data, std::size_t size, off_t offset,
              fuse_file_info* info) {
  handle(request, RequestKind::kWrite, [&] {
    const Bytes bytes(reinterpret_cast<const std::uint8_t*>(data), size);
    auto written =
        context(request).tree.write(id, bytes, static_cast<std::uint64_t>(offset), caller_of(info));
    if (!written) return void(fuse_reply_err(request, to_errno(written.error())));
    fuse_reply_write(request, size);
  });
}

void on_flush(fuse_req_t request, fuse_ino_t id, fuse_file_info* info) {
  handle(request, RequestKind::kFlush, [&] {
    context(request).tree.flush(id, caller_of(info),
                                [request](const Result<void>& done) { reply(request, done); });
  });
}

void on_release(fuse_req_t request, fuse_ino_t id, fuse_file_info* info) {
  handle(request, RequestKind::kRelease, [&] {
    context(request).tree.release(id, caller_of(info));
    fuse_reply_err(request, 0);
  });
}

void on_fsync(fuse_req_t request, fuse_ino_t id, int, fuse_file_info*) {
  handle(request, RequestKind::kFsync,
         [&] { reply(request, context(request).tree.sync(id, requester(request))); });
}

void on_fallocate(fuse_req_t request, fuse_ino_t id, int mode, off_t offset, off_t length,
                  fuse_file_info* info) {
  handle(request, RequestKind::kFallocate, [&] {
    reply(request, context(request).tree.allocate(id, mode, static_cast<std::uint64_t>(offset),
                                                  static_cast<std::uint64_t>(length), caller_of(info)));
  });
}

/// An open directory. Many are opened for fsync alone: it is read from only once somebody lists it.
struct OpenDirectory {
  ~OpenDirectory() {
    if (stream != nullptr) ::closedir(stream);
  }
  Result<void> begin(Tree& tree, fuse_ino_t id) {
    if (stream != nullptr) return {};
    RILL_ASSIGN(const int fd, tree.open_directory(id));
    stream = ::fdopendir(fd);
    if (stream != nullptr) return {};
    const int error = errno;
    ::close(fd);
    return errno_error(error, "list a directory");
  }
  DIR* stream = nullptr;
};

OpenDirectory* directory_of(const fuse_file_info& info) { return reinterpret_cast<OpenDirectory*>(info.fh); }

void on_opendir(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  handle(request, RequestKind::kDirectory, [&] {
    auto directory = std::make_unique<OpenDirectory>();
    info->fh = reinterpret_cast<std::uintptr_t>(directory.get());
    // The caller was interrupted: the kernel will send no RELEASEDIR.
    if (fuse_reply_open(request, info) != -ENOENT) (void)directory.release();
  });
}

void on_readdir(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset, fuse_file_info* info) {
  handle(request, RequestKind::kDirectory, [&] {
    if (auto begun = directory_of(*info)->begin(context(request).tree, id); !begun)
      return void(fuse_reply_err(request, to_errno(begun.error())));
    DIR* directory = directory_of(*info)->stream;
    Buffer buffer(std::min<std::size_t>(size, kRequestSizeMax));
    if (offset != ::telldir(directory)) ::seekdir(directory, offset);
    std::size_t used = 0;
    for (;;) {
      const long before = ::telldir(directory);
      errno = 0;
      const dirent* entry = ::readdir(directory);
      if (entry == nullptr) {
        if (errno != 0 && used == 0) return void(fuse_reply_err(request, errno));
        break;
      }
      struct stat status {};
      status.st_ino = entry->d_ino;
      status.st_mode = static_cast<mode_t>(entry->d_type) << 12;
      const std::size_t need =
          fuse_add_direntry(request, reinterpret_cast<char*>(buffer.data()) + used, buffer.size() - used,
                            entry->d_name, &status, ::telldir(directory));
      if (need > buffer.size() - used) {
        ::seekdir(directory, before);
        break;
      }
      used += need;
    }
    fuse_reply_buf(request, reinterpret_cast<const char*>(buffer.data()), used);
  });
}

void on_releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  delete directory_of(*info);
  fuse_reply_err(request, 0);
}

void on_fsyncdir(fuse_req_t request, fuse_ino_t id, int, fuse_file_info*) {
  handle(request, RequestKind::kFsync, [&] { reply(request, context(request).tree.sync_directory(id)); });
}

void on_statfs(fuse_req_t request, fuse_ino_t id) {
  handle(request, RequestKind::kOther, [&] {
    auto status = context(request).tree.file_system_status(id);
    if (!status) return void(fuse_reply_err(request, to_errno(status.error())));
    fuse_reply_statfs(request, &*status);
  });
}

fuse_lowlevel_ops make_table() {
  fuse_lowlevel_ops table{};
  table.init = on_init;
  table.lookup = on_lookup;
  table.forget = on_forget;
  table.forget_multi = on_forget_multi;
  table.getattr = on_getattr;
  table.setattr = on_setattr;
  table.readlink = on_readlink;
  table.mknod = on_mknod;
  table.mkdir = on_mkdir;
  table.unlink = on_unlink;
  table.rmdir = on_rmdir;
  table.symlink = on_symlink;
  table.rename = on_rename;
  table.link = on_link;
  table.open = on_open;
  table.create = on_create;
  table.read = on_read;
  table.write = on_write;
  table.flush = on_flush;
  table.release = on_release;
  table.fsync = on_fsync;
  table.fallocate = on_fallocate;
  table.opendir = on_opendir;
  table.readdir = on_readdir;
  table.releasedir = on_releasedir;
  table.fsyncdir = on_fsyncdir;
  table.statfs = on_statfs;
  // No xattr callbacks: the kernel hears ENOSYS once and stops asking for security.capability at every write.
  return table;
}

}  // namespace

const fuse_lowlevel_ops& request_table() {
  static const fuse_lowlevel_ops table = make_table();
  return table;
}

std::string_view to_string(RequestKind kind) {
  static constexpr std::string_view kNames[] = {"lookup", "getattr", "setattr",   "open",      "create",
                                                "read",   "write",   "flush",     "fsync",     "release",
                                                "unlink", "rename",  "directory", "fallocate", "other"};
  return kNames[static_cast<std::size_t>(kind)];
}

int to_errno(const Error& error) {
  // Of a quota SQLite would say "disk I/O error": it knows one way only of being told that there is no room.
  if (error.code == ErrorCode::kNoSpace) return ENOSPC;
  if (error.errno_value != 0) return error.errno_value;
  switch (error.code) {
    case ErrorCode::kNoSpace:
      return ENOSPC;
    case ErrorCode::kInvalid:
      return EINVAL;
    case ErrorCode::kNotFound:
      return ENOENT;
    case ErrorCode::kReadOnly:
    case ErrorCode::kFenced:
      return EROFS;
    case ErrorCode::kBusy:
      return EAGAIN;
    case ErrorCode::kUnsupported:
      return EOPNOTSUPP;
    case ErrorCode::kClosed:
      return ESHUTDOWN;
    case ErrorCode::kIo:
    case ErrorCode::kCorrupt:
    case ErrorCode::kPositionMismatch:
    case ErrorCode::kNotInLog:
      return EIO;
  }
  return EIO;
}

}  // namespace rillfs::mount
