#include "replication/base/worker_pool.h"

#include <cerrno>

namespace rillfs {

WorkerPool::WorkerPool(std::size_t threads) {
  ::sem_init(&ready_, 0, 0);
  threads_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

WorkerPool::~WorkerPool() {
  join();
  shutdown();
  queue_.clear();
  destroy();
  ::sem_destroy(&ready_);
}

void WorkerPool::post(std::unique_ptr<Task> task) {
  {
    Lock lock(mutex_);
    queue_.push_back(std::move(task));
  }
  ::sem_post(&ready_);
}

void WorkerPool::work() {
  for (;;) {
    while (::sem_wait(&ready_) < 0 && errno == EINTR) {
    }
    std::unique_ptr<Task> task;
    {
      Lock lock(mutex_);
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
      ++running_;
    }
    task->run();
    task.reset();  // what it holds may post more
    Lock lock(mutex_);
    --running_;
    end_if_idle();
  }
}

void WorkerPool::end_if_idle() {
  if (!joining_ || ended_ || running_ != 0 || !queue_.empty()) return;
  ended_ = true;
  for (std::size_t i = 0; i < threads_.size(); ++i) ::sem_post(&ready_);
}

void WorkerPool::join() {
  {
    Lock lock(mutex_);
    joining_ = true;
    end_if_idle();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace rillfs
