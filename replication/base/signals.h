// Signals belong to the main thread: every other thread of ours begins with this, or inherits it.
#pragma once

#include <signal.h>

namespace rillfs {

/// For the calling thread, and those that it starts.
inline void block_signals() {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace rillfs
