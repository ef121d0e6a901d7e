#include "replication/base/waiting.h"

namespace rillfs {
namespace {
thread_local BeforeWaiting* before_waiting = nullptr;
}  // namespace

void set_before_waiting(BeforeWaiting* before) { before_waiting = before; }

void about_to_wait() {
  if (before_waiting != nullptr) before_waiting->about_to_wait();
}

void about_to_sync() {
  if (before_waiting != nullptr) before_waiting->about_to_sync();
}

}  // namespace rillfs
