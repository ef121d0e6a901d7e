#include "fs/apply/mount_threads.h"

#include <linux/close_range.h>
#include <unistd.h>

#include <barrier>
#include <boost/asio/post.hpp>
#include <stdexcept>
#include <thread>

#include "replication/base/file_system.h"
#include "replication/base/mutex.h"
#include "replication/base/signals.h"

namespace rillfs::apply {

MountThreads::MountThreads(int count) {
  bool own_table = false;
  std::thread founder([&] {
    block_signals();  // the pools inherit the mask
    own_table = ::close_range(3, ~0U, CLOSE_RANGE_UNSHARE) == 0;
    if (!own_table) return;
    pool_ = std::make_unique<WorkerPool>(static_cast<std::size_t>(count));
    checkpoints_ = std::make_unique<WorkerPool>(1);
    enter_table(*pool_, count);
    enter_table(*checkpoints_, 1);
  });
  founder.join();
  if (!own_table)
    throw std::runtime_error("close_range(CLOSE_RANGE_UNSHARE) failed: Linux 5.9 or newer is needed");
}

void MountThreads::enter_table(WorkerPool& pool, int count) {
  Mutex mutex;
  // Shared: the last thread to wake may still look at it when this has returned.
  auto everybody = std::make_shared<std::barrier<>>(count + 1);
  for (int i = 0; i < count; ++i) {
    boost::asio::post(pool, [&, everybody] {
      enter_descriptor_table(kTable);
      {
        Lock lock(mutex);
        ids_.insert(::gettid());
      }
      everybody->arrive_and_wait();  // so that each thread runs this once
    });
  }
  everybody->arrive_and_wait();
}

MountThreads::~MountThreads() { stop(); }

void MountThreads::stop() {
  if (pool_) pool_->join();
  if (checkpoints_) checkpoints_->join();
}

}  // namespace rillfs::apply
