// A file system that fails, on purpose, exactly one call, or one and all after it: the n-th of those that
// change something or make it durable. A failing write first writes half of its bytes, as a full disk does.
// Syncs are counted but not passed on, since no power fails in a unit test; everything else is. Threads: any.
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "replication/base/file_system.h"

namespace rillfs::test {

class FaultyFileSystem final : public FileSystem {
 public:
  explicit FaultyFileSystem(FileSystem& below) : below_(below) {}

  /// The `nth` changing call from now (0: the next) with this label (empty: any) fails with this errno.
  void fail_nth(int nth, int errno_value, std::string label = "") {
    std::lock_guard lock(mutex_);
    countdown_ = nth, errno_ = errno_value, label_ = std::move(label), fired_ = false, dead_ = false;
  }
  /// The `nth` changing call from now and all after it fail: as far as the disk can tell, a kill -9 there.
  void die_at(int nth) {
    fail_nth(nth, EIO);
    dead_ = true;
  }
  /// `what` is done before the next changing call with this label, which succeeds.
  void before_next(std::string label, std::function<void()> what) {
    std::lock_guard lock(mutex_);
    hook_label_ = std::move(label), hook_ = std::move(what);
  }
  void stop_failing() { fail_nth(-1, 0); }
  /// The planned failure has happened.
  bool fired() const { return fired_; }
  /// fdatasync calls so far.
  int sync_count() const { return sync_count_; }
  /// Every fdatasync takes this long.
  std::atomic<int> sync_delay_us = 0;

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode, Label label) override;
  Result<std::unique_ptr<File>> open_unnamed(const std::string& directory, Label label) override {
    RILL_TRY(step(label));
    return below_.open_unnamed(directory, label);
  }
  Result<void> rename(const std::string& from, const std::string& to, Label label) override {
    RILL_TRY(step(label));
    return below_.rename(from, to, label);
  }
  Result<void> remove(const std::string& path, Label label) override {
    RILL_TRY(step(label));
    return below_.remove(path, label);
  }
  Result<void> make_directories(const std::string& path, Label label) override {
    RILL_TRY(step(label));
    return below_.make_directories(path, label);
  }
  Result<std::vector<DirectoryEntry>> list(const std::string& path, Label label) override {
    return below_.list(path, label);
  }
  Result<void> sync_directory(const std::string& path, Label label) override {
    RILL_TRY(step(label));
    (void)path;
    return {};
  }
  Result<bool> exists(const std::string& path, Label label) override { return below_.exists(path, label); }

 private:
  class FaultyFile;
  /// Counts one changing call; the error if it is the one to fail.
  Result<void> step(Label label) {
    std::unique_lock lock(mutex_);
    if (hook_ && label == hook_label_) {
      const auto hook = std::exchange(hook_, nullptr);
      lock.unlock();
      hook();
      lock.lock();
    }
    if (countdown_ < 0 || (!label_.empty() && label != label_)) return {};
    if (countdown_ > 0) {
      --countdown_;
      return {};
    }
    if (!dead_) countdown_ = -1;
    fired_ = true;
    return errno_error(errno_, std::string(label) + " (injected)");
  }

  FileSystem& below_;
  std::mutex mutex_;
  int countdown_ = -1;
  int errno_ = 0;
  std::string label_;
  std::string hook_label_;
  std::function<void()> hook_;
  bool dead_ = false;
  std::atomic<bool> fired_ = false;
  std::atomic<int> sync_count_ = 0;
};

class FaultyFileSystem::FaultyFile final : public File {
 public:
  FaultyFile(FaultyFileSystem& owner, std::unique_ptr<File> below)
      : owner_(owner), below_(std::move(below)) {}

  Result<std::size_t> read_at(MutableBytes into, std::uint64_t offset, Label label) override {
    return below_->read_at(into, offset, label);
  }
  Result<void> write_at(Bytes bytes, std::uint64_t offset, Label label) override {
    auto allowed = owner_.step(label);
    RILL_TRY(below_->write_at(allowed ? bytes : bytes.first(bytes.size() / 2), offset, label));
    return allowed;
  }
  Result<void> truncate(std::uint64_t size, Label label) override {
    RILL_TRY(owner_.step(label));
    return below_->truncate(size, label);
  }
  Result<std::uint64_t> data_size(Label label) override { return below_->data_size(label); }
  Result<std::uint64_t> size(Label label) override { return below_->size(label); }
  Result<void> sync_data(Label label) override {
    ++owner_.sync_count_;
    RILL_TRY(owner_.step(label));
    if (owner_.sync_delay_us > 0)
      std::this_thread::sleep_for(std::chrono::microseconds(owner_.sync_delay_us));
    return {};
  }

 private:
  FaultyFileSystem& owner_;
  std::unique_ptr<File> below_;
};

inline Result<std::unique_ptr<File>> FaultyFileSystem::open(const std::string& path, OpenMode mode,
                                                            Label label) {
  if (mode == OpenMode::kCreate || mode == OpenMode::kCreateNew) RILL_TRY(step(label));
  RILL_ASSIGN(auto file, below_.open(path, mode, label));
  return std::unique_ptr<File>(std::make_unique<FaultyFile>(*this, std::move(file)));
}

}  // namespace rillfs::test
