#include "fs/mount/memory_keeper.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace rillfs::mount {
namespace {

constexpr std::size_t kStackSize = 64 * 1024;

/// The keeper's whole life. It shares memory, thread-local variables included, with the thread that made it:
/// nothing here allocates or takes a lock, and every signal is blocked.
int keep(void* argument) {
  const int daemon = static_cast<int>(reinterpret_cast<std::intptr_t>(argument));
  ::syscall(SYS_setsid);  // a signal to the daemon's group is not for us
  ::syscall(SYS_prctl, PR_SET_NAME, "fuse-keeper", 0, 0, 0);
  if (daemon > 0) ::syscall(SYS_close_range, 0U, static_cast<unsigned>(daemon) - 1, 0);
  ::syscall(SYS_close_range, static_cast<unsigned>(daemon) + 1, ~0U, 0);
  pollfd gone{daemon, POLLIN, 0};
  while (::syscall(SYS_poll, &gone, 1, -1) < 0) {
  }
  ::syscall(SYS_exit_group, 0);
  return 0;
}

}  // namespace

Result<std::unique_ptr<MemoryKeeper>> MemoryKeeper::start() {
#ifdef __SANITIZE_THREAD__
  // It takes clone for a fork, and does not follow threads that are started after one: such a build does
  // without.
  return std::unique_ptr<MemoryKeeper>();
#endif
  const int self = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
  if (self < 0) return errno_error(errno, "pidfd_open (Linux 5.3 or newer is needed)");
  void* stack =
      ::mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) {
    ::close(self);
    return errno_error(ENOMEM, "stack of the memory keeper");
  }
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited by the keeper
  const pid_t pid = ::clone(&keep, static_cast<char*>(stack) + kStackSize, CLONE_VM,
                            reinterpret_cast<void*>(static_cast<std::intptr_t>(self)));
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(self);
  if (pid < 0) {
    ::munmap(stack, kStackSize);
    return errno_error(error, "start the memory keeper");
  }
  return std::unique_ptr<MemoryKeeper>(new MemoryKeeper(pid, stack));
}

MemoryKeeper::~MemoryKeeper() {
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, __WALL) < 0 && errno == EINTR) {
  }
  ::munmap(stack_, kStackSize);
}

}  // namespace rillfs::mount
