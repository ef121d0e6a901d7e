// Says that the calling thread is about to wait: for the disk, or for what another thread does.
// The disk comes back by itself; what another thread does may need what the calling one has.
//
// A thread that others depend on meanwhile (the request worker that listens for all, fs/mount/lead.h) names
// what it does first. For any other thread this is one comparison.
#pragma once

namespace rillfs {

class BeforeWaiting {
 public:
  virtual void about_to_wait() = 0;
  virtual void about_to_sync() = 0;

 protected:
  ~BeforeWaiting() = default;
};

/// Of the calling thread; null: nothing. It must outlive the thread, or be taken away.
void set_before_waiting(BeforeWaiting* before);
void about_to_wait();
void about_to_sync();

}  // namespace rillfs
