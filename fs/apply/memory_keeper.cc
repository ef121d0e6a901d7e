#include "fs/apply/memory_keeper.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace rillfs::apply {

int MemoryKeeper::run(void* argument) {
  // This process shares the thread-local storage of the thread that made it, errno among it: nothing here may
  // fail on the way, nor call what allocates or locks.
  const int pipe = static_cast<MemoryKeeper*>(argument)->reading_end_;
  ::syscall(SYS_prctl, PR_SET_NAME, "rillfs-memory", 0, 0, 0);
  if (pipe > 0) ::syscall(SYS_close_range, 0, pipe - 1, 0);
  ::syscall(SYS_close_range, pipe + 1, ~0U, 0);
  char byte;
  ::syscall(SYS_read, pipe, &byte, sizeof byte);
  ::syscall(SYS_exit, 0);
  return 0;
}

Result<std::unique_ptr<MemoryKeeper>> MemoryKeeper::start() {
  std::unique_ptr<MemoryKeeper> keeper(new MemoryKeeper);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return errno_error(errno, "pipe");
  keeper->reading_end_ = ends[0];
  keeper->writing_end_ = ends[1];
  keeper->stack_ = std::make_unique<std::byte[]>(kStackSize);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // its handlers would be ours
  // No signal when it ends (the low byte is 0): SIGCHLD is about the command that the daemon runs.
  keeper->pid_ = ::clone(run, keeper->stack_.get() + kStackSize, CLONE_VM, keeper.get());
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(ends[0]);
  if (keeper->pid_ < 0) return errno_error(error, "clone");
  return keeper;
}

MemoryKeeper::~MemoryKeeper() {
  if (writing_end_ >= 0) ::close(writing_end_);
  // It runs on our stack_: gone before that is.
  while (pid_ > 0 && ::waitpid(pid_, nullptr, __WCLONE) < 0 && errno == EINTR) {
  }
}

}  // namespace rillfs::apply
