// Files below loop devices: every block write and every flush that a file system makes is recorded, in order.
//
//   powercut_block_log LOG MOUNTPOINT IMAGE...     shows IMAGE number k as MOUNTPOINT/k until it is unmounted
//
// The loop driver turns the cache flush of the file system above into an fsync of the file, so the log holds
// what a disk with a volatile write cache is told: what was written, and where everything before had to be
// safe. All devices share one log, which makes "the same instant" on two of them a position in it.
//
// One record, little-endian, then `length` bytes of data (block_log.py reads it):
//
//   offset  size
//        0     4  'W' write, 'F' flush
//        4     4  device
//        8     8  offset on the device
//       16     4  length; 0 for a flush
//       20     4  zero
#define FUSE_USE_VERSION 312
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr double kForever = 1e6;
constexpr fuse_ino_t kFirstDevice = 2;  // 1 is the root

struct Record {
  std::uint32_t operation;
  std::uint32_t device;
  std::uint64_t offset;
  std::uint32_t length;
  std::uint32_t zero;
};

struct Device {
  int fd;
  off_t size;
};

/// One thread serves all requests, so the order in the log is the order of the answers.
struct BlockLog {
  int log = -1;
  std::vector<Device> devices;

  Device* find(fuse_ino_t id) {
    return id < kFirstDevice || id - kFirstDevice >= devices.size() ? nullptr : &devices[id - kFirstDevice];
  }
  /// A harness that goes on without its log would prove nothing.
  void append(Record record, const char* data) const {
    iovec parts[] = {{&record, sizeof record}, {const_cast<char*>(data), record.length}};
    const auto all = static_cast<ssize_t>(sizeof record + record.length);
    if (::writev(log, parts, 2) == all) return;
    std::perror("block log");
    std::abort();
  }
};

BlockLog& state(fuse_req_t request) { return *static_cast<BlockLog*>(fuse_req_userdata(request)); }

bool fill(BlockLog& block_log, fuse_ino_t id, struct stat& status) {
  status = {};
  status.st_ino = id;
  status.st_nlink = 1;
  if (id == FUSE_ROOT_ID) {
    status.st_mode = S_IFDIR | 0700;
    return true;
  }
  const Device* device = block_log.find(id);
  if (!device) return false;
  status.st_mode = S_IFREG | 0600;
  status.st_size = device->size;
  return true;
}

void look_up(fuse_req_t request, fuse_ino_t, const char* name) {
  fuse_entry_param entry{};
  entry.ino = kFirstDevice + static_cast<fuse_ino_t>(std::atoi(name));
  entry.attr_timeout = entry.entry_timeout = kForever;
  const std::string number = std::to_string(entry.ino - kFirstDevice);
  if (number != name || !fill(state(request), entry.ino, entry.attr)) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_reply_entry(request, &entry);
}

void get_attributes(fuse_req_t request, fuse_ino_t id, fuse_file_info*) {
  struct stat status {};
  if (fill(state(request), id, status)) {
    fuse_reply_attr(request, &status, kForever);
  } else {
    fuse_reply_err(request, ENOENT);
  }
}

void open_device(fuse_req_t request, fuse_ino_t id, fuse_file_info* file) {
  if (!state(request).find(id)) {
    fuse_reply_err(request, EISDIR);
    return;
  }
  file->direct_io = 1;  // nothing may stay in a cache between the loop device and the log
  fuse_reply_open(request, file);
}

void read_device(fuse_req_t request, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*) {
  std::vector<char> data(size);
  const ssize_t n = ::pread(state(request).find(id)->fd, data.data(), size, offset);
  if (n < 0) {
    fuse_reply_err(request, errno);
  } else {
    fuse_reply_buf(request, data.data(), static_cast<size_t>(n));
  }
}

void write_device(fuse_req_t request, fuse_ino_t id, const char* data, size_t size, off_t offset,
                  fuse_file_info*) {
  BlockLog& block_log = state(request);
  block_log.append({'W', static_cast<std::uint32_t>(id - kFirstDevice), static_cast<std::uint64_t>(offset),
                    static_cast<std::uint32_t>(size), 0},
                   data);
  const ssize_t n = ::pwrite(block_log.find(id)->fd, data, size, offset);
  if (n < 0) {
    fuse_reply_err(request, errno);
  } else {
    fuse_reply_write(request, static_cast<size_t>(n));
  }
}

void flush_device(fuse_req_t request, fuse_ino_t id, int, fuse_file_info*) {
  state(request).append({'F', static_cast<std::uint32_t>(id - kFirstDevice), 0, 0, 0}, nullptr);
  fuse_reply_err(request, 0);
}

bool open_files(BlockLog& block_log, char** arguments) {
  block_log.log = ::open(arguments[1], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  if (block_log.log < 0) return false;
  for (char** image = arguments + 3; *image; ++image) {
    struct stat status {};
    const int fd = ::open(*image, O_RDWR | O_CLOEXEC);
    if (fd < 0 || ::fstat(fd, &status) < 0) return false;
    block_log.devices.push_back({fd, status.st_size});
  }
  return true;
}

int serve(BlockLog& block_log, const char* mountpoint) {
  fuse_lowlevel_ops operations{};
  operations.lookup = look_up;
  operations.getattr = get_attributes;
  operations.open = open_device;
  operations.read = read_device;
  operations.write = write_device;
  operations.fsync = flush_device;
  char name[] = "powercut_block_log";
  char* words[] = {name, nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(1, words);
  fuse_session* session = fuse_session_new(&arguments, &operations, sizeof operations, &block_log);
  if (!session || fuse_session_mount(session, mountpoint) != 0) return 1;
  fuse_set_signal_handlers(session);
  const int result = fuse_session_loop(session);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return result < 0 ? 1 : 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr, "usage: powercut_block_log LOG MOUNTPOINT IMAGE...\n");
    return 2;
  }
  BlockLog block_log;
  if (!open_files(block_log, arguments)) {
    std::perror("powercut_block_log");
    return 1;
  }
  return serve(block_log, arguments[2]);
}
