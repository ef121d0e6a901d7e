// Says that the calling thread is about to wait: for the disk, or for what another thread does.
//
// A thread that others depend on meanwhile (the request worker that listens for all, fs/mount/lead.h) names
// what it does first. For any other thread this is one comparison.
#pragma once

namespace rillfs {

class BeforeWaiting {
 public:
  virtual void about_to_wait() = 0;

 protected:
  ~BeforeWaiting() = default;
};

/// Of the calling thread; null: nothing. It must outlive the thread, or be taken away.
void set_before_waiting(BeforeWaiting* before);
void about_to_wait();

}  // namespace rillfs
