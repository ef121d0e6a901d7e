// Databases in memory on both ends of a stream. The rolling checksum is a hash of all images, so that a
// change set that is lost, repeated, damaged or out of order is noticed by the sink.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "replication/ltx/checksum.h"
#include "replication/stream/databases.h"

namespace rillfs::testing {

constexpr std::uint32_t kFakePageSize = 4096;

inline Checksum hash(Checksum before, Bytes image) {
  std::uint64_t value = before.value;
  for (std::uint8_t byte : image) value = (value ^ byte) * 0x100000001b3;
  return Checksum{value | Checksum::kFlag};
}

inline Bytes as_bytes(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = std::filesystem::temp_directory_path() / "rillfs-test-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A page of this number at its nth version. Hard to compress for odd pages, so that both forms travel.
inline Buffer fake_page(std::uint32_t pgno, std::uint32_t version = 0, std::uint32_t size = kFakePageSize) {
  Buffer page(size);
  std::uint64_t value = pgno ^ (std::uint64_t{version} << 32);
  for (auto& byte : page) {
    if (pgno % 2) value = value * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<std::uint8_t>(value >> 56 ^ pgno ^ version);
  }
  return page;
}

class FakeSource final : public stream::Source {
 public:
  DatabaseId create(const std::string& path, std::uint32_t page_count = 0) {
    std::unique_lock lock(mutex_);
    DatabaseId id{++last_id_};
    databases_[id].state.info = {id, path, 0644, 0, 0};
    databases_[id].page_count = page_count;
    lock.unlock();
    notify(id);
    return id;
  }
  /// A second primary with the same databases, e.g. to diverge.
  Position commit(DatabaseId id, const std::string& image, std::int64_t timestamp_ms = 1,
                  std::uint64_t merged = 1) {
    std::unique_lock lock(mutex_);
    Database& database = databases_.at(id);
    Position pre = database.state.position;
    Position post{Epoch{1}, Txid{pre.txid.value + merged}, hash(pre.checksum, as_bytes(image))};
    database.state.log_offset += image.size();
    database.log.push_back(
        {{pre, post, image.size(), timestamp_ms, database.state.log_offset, image.size()}, image});
    database.state.position = post;
    lock.unlock();
    notify(id);
    return post;
  }
  void rename(DatabaseId id, const std::string& path) {
    {
      std::lock_guard lock(mutex_);
      databases_.at(id).state.info.path = path;
    }
    notify(id);
  }
  void drop(DatabaseId id) {
    {
      std::lock_guard lock(mutex_);
      databases_.erase(id);
      dropped_.insert(id);
    }
    notify(id);
  }
  /// Knows nothing of it any more.
  void lose(DatabaseId id) {
    std::lock_guard lock(mutex_);
    databases_.erase(id);
  }
  bool was_dropped(DatabaseId id) override {
    std::lock_guard lock(mutex_);
    return dropped_.contains(id);
  }
  /// Retention removes everything so far.
  void truncate_log(DatabaseId id) {
    std::lock_guard lock(mutex_);
    Database& database = databases_.at(id);
    database.removed += database.log.size();
    database.log.clear();
  }
  Position position(DatabaseId id) {
    std::lock_guard lock(mutex_);
    return databases_.at(id).state.position;
  }
  /// What the next one who reads the page finds.
  void change_page(DatabaseId id, std::uint32_t pgno) {
    std::lock_guard lock(mutex_);
    ++databases_.at(id).versions[pgno];
  }
  /// Reading the page is answered with this; with nothing, it can be read again.
  void refuse_page(DatabaseId id, std::uint32_t pgno, std::optional<ErrorCode> code) {
    std::lock_guard lock(mutex_);
    auto& refused = databases_.at(id).refused;
    if (code) {
      refused[pgno] = *code;
    } else {
      refused.erase(pgno);
    }
  }
  void resize(DatabaseId id, std::uint32_t page_count) {
    std::lock_guard lock(mutex_);
    databases_.at(id).page_count = page_count;
  }
  void set_page_size(DatabaseId id, std::uint32_t page_size) {
    std::lock_guard lock(mutex_);
    databases_.at(id).page_size = page_size;
  }
  Result<Buffer> read_page(DatabaseId id, std::uint32_t pgno) {
    {
      std::lock_guard lock(mutex_);
      const auto& refused = databases_.at(id).refused;
      if (auto at = refused.find(pgno); at != refused.end())
        return make_error(at->second, "as the test wants");
    }
    return page(id, pgno);
  }
  Buffer page(DatabaseId id, std::uint32_t pgno) {
    std::lock_guard lock(mutex_);
    Database& database = databases_.at(id);
    return fake_page(pgno, database.versions[pgno], database.page_size);
  }
  int difference_count() {
    std::lock_guard lock(mutex_);
    return differences_;
  }
  /// Cursors of whole snapshots that somebody has.
  int snapshots_open() const { return snapshots_open_; }
  int snapshot_count() {
    std::lock_guard lock(mutex_);
    return snapshots_;
  }

  std::vector<stream::DatabaseState> list() override {
    std::lock_guard lock(mutex_);
    std::vector<stream::DatabaseState> all;
    for (auto& [id, database] : databases_) all.push_back(database.state);
    return all;
  }
  std::optional<stream::DatabaseState> find(DatabaseId id) override {
    std::lock_guard lock(mutex_);
    auto at = databases_.find(id);
    if (at == databases_.end()) return std::nullopt;
    return at->second.state;
  }
  Result<std::unique_ptr<stream::ChangeSetCursor>> follow(DatabaseId id, const Position& after) override {
    std::lock_guard lock(mutex_);
    auto at = databases_.find(id);
    if (at == databases_.end()) return make_error(ErrorCode::kNotFound, "no such database");
    Database& database = at->second;
    for (std::size_t i = 0; i < database.log.size(); ++i)
      if (database.log[i].info.pre.same_place(after))
        return std::unique_ptr<stream::ChangeSetCursor>(new LogCursor(*this, id, database.removed + i));
    const bool reaches_back = !database.log.empty() && database.log.front().info.pre.txid <= after.txid;
    if (!database.state.position.same_place(after))
      return make_error(reaches_back ? ErrorCode::kPositionMismatch : ErrorCode::kNotInLog, "not in the log");
    return std::unique_ptr<stream::ChangeSetCursor>(
        new LogCursor(*this, id, database.removed + database.log.size()));
  }
  Result<std::unique_ptr<stream::SnapshotCursor>> snapshot(DatabaseId id) override {
    std::lock_guard lock(mutex_);
    auto at = databases_.find(id);
    if (at == databases_.end()) return make_error(ErrorCode::kNotFound, "no such database");
    ++snapshots_;
    return std::unique_ptr<stream::SnapshotCursor>(
        new PageCursor(*this, id, at->second.state.position, at->second.page_count, at->second.page_size));
  }
  Result<std::unique_ptr<stream::PageSource>> pages(DatabaseId id) override {
    std::lock_guard lock(mutex_);
    auto at = databases_.find(id);
    if (at == databases_.end()) return make_error(ErrorCode::kNotFound, "no such database");
    ++differences_;
    return std::unique_ptr<stream::PageSource>(new Pages(*this, id, at->second.state.position));
  }
  void listen(std::function<void(DatabaseId)> changed) override {
    std::lock_guard lock(listener_mutex_);
    changed_ = std::move(changed);
  }

 private:
  struct Record {
    stream::ChangeSetInfo info;
    std::string image;
  };
  struct Database {
    stream::DatabaseState state;
    std::deque<Record> log;
    std::size_t removed = 0;
    std::uint32_t page_count = 0;
    std::uint32_t page_size = kFakePageSize;
    std::map<std::uint32_t, std::uint32_t> versions;
    std::map<std::uint32_t, ErrorCode> refused;
  };
  class LogCursor final : public stream::ChangeSetCursor {
   public:
    LogCursor(FakeSource& source, DatabaseId id, std::size_t next) : source_(source), id_(id), next_(next) {}
    Result<std::optional<stream::ChangeSetInfo>> next() override {
      std::lock_guard lock(source_.mutex_);
      auto at = source_.databases_.find(id_);
      if (at == source_.databases_.end()) return std::optional<stream::ChangeSetInfo>();
      Database& database = at->second;
      if (next_ < database.removed) return make_error(ErrorCode::kNotInLog, "retention");
      if (next_ - database.removed == database.log.size()) return std::optional<stream::ChangeSetInfo>();
      const Record& record = database.log[next_++ - database.removed];
      image_ = record.image;
      read_ = 0;
      return std::optional(record.info);
    }
    Result<std::size_t> read(MutableBytes into) override {
      std::size_t size = std::min(into.size(), image_.size() - read_);
      std::memcpy(into.data(), image_.data() + read_, size);
      read_ += size;
      return size;
    }

   private:
    FakeSource& source_;
    const DatabaseId id_;
    std::size_t next_;
    std::string image_;
    std::size_t read_ = 0;
  };
  class PageCursor final : public stream::SnapshotCursor {
   public:
    PageCursor(FakeSource& source, DatabaseId id, Position start, std::uint32_t count,
               std::uint32_t page_size)
        : source_(source), id_(id), start_(start), count_(count), page_size_(page_size) {
      ++source_.snapshots_open_;
    }
    ~PageCursor() override { --source_.snapshots_open_; }
    Position start() const override { return start_; }
    std::uint32_t page_size() const override { return page_size_; }
    Pgno page_count() const override { return Pgno{count_}; }
    Result<std::optional<Page>> next() override {
      if (last_ == count_) return std::optional<Page>();
      RILL_ASSIGN(data_, source_.read_page(id_, last_ + 1));
      ++last_;
      return std::optional(Page{Pgno{last_}, data_});
    }
    Position end() const override { return source_.find(id_) ? source_.position(id_) : start_; }

   private:
    FakeSource& source_;
    const DatabaseId id_;
    const Position start_;
    const std::uint32_t count_;
    const std::uint32_t page_size_;
    std::uint32_t last_ = 0;
    Buffer data_;
  };
  class Pages final : public stream::PageSource {
   public:
    Pages(FakeSource& source, DatabaseId id, Position start) : source_(source), id_(id), start_(start) {}
    Position start() const override { return start_; }
    Position position() const override { return source_.find(id_) ? source_.position(id_) : start_; }
    std::uint32_t page_size() const override {
      std::lock_guard lock(source_.mutex_);
      auto at = source_.databases_.find(id_);
      return at == source_.databases_.end() ? kFakePageSize : at->second.page_size;
    }
    Pgno page_count() const override {
      std::lock_guard lock(source_.mutex_);
      auto at = source_.databases_.find(id_);
      return Pgno{at == source_.databases_.end() ? 0 : at->second.page_count};
    }
    std::vector<std::uint64_t> sums(Pgno first, std::uint32_t count) const override {
      std::vector<std::uint64_t> sums(count, 0);
      for (std::uint32_t i = 0; i < count; ++i) {
        const Pgno pgno{first.value + i};
        if (pgno <= page_count()) sums[i] = ltx::page_checksum(pgno, source_.page(id_, pgno.value)).value;
      }
      return sums;
    }
    Result<std::optional<Bytes>> read(Pgno pgno) override {
      if (pgno > page_count()) return std::optional<Bytes>();
      RILL_ASSIGN(data_, source_.read_page(id_, pgno.value));
      return std::optional<Bytes>(data_);
    }

   private:
    FakeSource& source_;
    const DatabaseId id_;
    const Position start_;
    Buffer data_;
  };

  void notify(DatabaseId id) {
    std::lock_guard lock(listener_mutex_);
    if (changed_) changed_(id);
  }

  std::mutex mutex_;
  std::mutex listener_mutex_;
  std::map<DatabaseId, Database> databases_;
  std::set<DatabaseId> dropped_;
  std::function<void(DatabaseId)> changed_;
  std::uint64_t last_id_ = 0;
  int snapshots_ = 0;
  std::atomic<int> snapshots_open_ = 0;
  int differences_ = 0;
};

class FakeSink final : public stream::Sink {
 public:
  struct Database {
    stream::DatabaseInfo info;
    Position position;
    std::map<std::uint32_t, Buffer> pages;
    bool complete = false;
    std::uint32_t page_size = kFakePageSize;
    std::uint32_t received = 0;           ///< pages of the last snapshot
    std::map<std::uint32_t, Buffer> old;  ///< while a snapshot by difference is under way
    std::uint32_t next_old = 1;
  };

  explicit FakeSink(std::string spool) : spool_(std::move(spool)) {}

  /// Waits until `holds(databases, events)`; false after ten seconds.
  template <class Condition>
  bool wait(Condition holds) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return holds(databases_, events_); });
  }
  bool wait_position(DatabaseId id, const Position& position) {
    return wait([&](auto& databases, auto&) {
      auto at = databases.find(id);
      return at != databases.end() && at->second.complete && at->second.position.same_place(position);
    });
  }
  /// The next change sets are answered with these.
  void fail_next(std::vector<ErrorCode> codes) {
    std::lock_guard lock(mutex_);
    failures_.assign(codes.begin(), codes.end());
  }
  /// So many of the next drops fail.
  void fail_drops(int count) {
    std::lock_guard lock(mutex_);
    failing_drops_ = count;
  }
  /// Workers that bring something for `id` wait until it is let go.
  void hold(DatabaseId id) {
    std::lock_guard lock(mutex_);
    held_ = id;
  }
  void let_go() {
    std::lock_guard lock(mutex_);
    held_ = {};
    changed_.notify_all();
  }
  std::vector<std::string> events() {
    std::lock_guard lock(mutex_);
    return events_;
  }
  std::map<DatabaseId, Database> databases() {
    std::lock_guard lock(mutex_);
    return databases_;
  }

  std::vector<stream::DatabaseState> list() override {
    std::lock_guard lock(mutex_);
    std::vector<stream::DatabaseState> all;
    for (auto& [id, database] : databases_)
      if (database.complete) all.push_back({database.info, database.position, 0});
    return all;
  }
  Result<void> announce(const stream::DatabaseInfo& info) override {
    std::lock_guard lock(mutex_);
    databases_[info.id].info = info;
    event("announce " + info.path);
    return {};
  }
  Result<void> drop(DatabaseId id, bool unknown) override {
    std::lock_guard lock(mutex_);
    if (failing_drops_ > 0) {
      --failing_drops_;
      event("keep " + databases_[id].info.path);
      return make_error(ErrorCode::kIo, "as the test wants");
    }
    event((unknown ? "park and drop " : "drop ") + databases_[id].info.path);
    databases_.erase(id);
    return {};
  }
  Result<void> begin_snapshot(const stream::DatabaseInfo& info, const Position& start,
                              std::uint32_t page_size, Pgno, stream::History history) override {
    auto lock = enter(info.id);
    if (history == stream::History::kAnother) event("park " + info.path);
    databases_[info.id] = {info, start, {}, false, page_size};
    event("snapshot " + info.path);
    return {};
  }
  Result<void> begin_difference(const stream::DatabaseInfo& info, const Position& start,
                                std::uint32_t page_size, stream::History history) override {
    auto lock = enter(info.id);
    Database& database = databases_[info.id];
    if (database.page_size != page_size || database.pages.empty())
      return make_error(ErrorCode::kUnsupported, "nothing to compare");
    if (history == stream::History::kAnother) event("park " + info.path);
    std::map<std::uint32_t, Buffer> old = std::move(database.pages);
    database = {info, start, {}, false, page_size, 0, std::move(old), 1};  // exact at its end
    event("difference " + info.path);
    return {};
  }
  Result<std::vector<std::uint64_t>> page_sums(DatabaseId id, Pgno first, std::uint32_t count) override {
    auto lock = enter(id);
    Database& database = databases_[id];
    if (first.value > database.next_old) return make_error(ErrorCode::kInvalid, "out of turn");
    std::vector<std::uint64_t> sums(count, 0);
    for (std::uint32_t pgno = first.value; pgno < first.value + count; ++pgno) {
      if (pgno >= database.next_old && database.old.contains(pgno)) database.pages[pgno] = database.old[pgno];
      if (auto at = database.pages.find(pgno); at != database.pages.end())
        sums[pgno - first.value] = ltx::page_checksum(Pgno{pgno}, at->second).value;
    }
    database.next_old = std::max(database.next_old, first.value + count);
    return sums;
  }
  Result<void> snapshot_page(DatabaseId id, Pgno pgno, Bytes page) override {
    auto lock = enter(id);
    ++databases_[id].received;
    databases_[id].pages[pgno.value].assign(page.begin(), page.end());
    return {};
  }
  Result<void> end_snapshot(DatabaseId id, const Position&) override {
    auto lock = enter(id);
    databases_[id].complete = true;
    event("complete " + databases_[id].info.path);
    report(id, lock);
    return {};
  }
  Result<void> change_set(DatabaseId id, const stream::ChangeSetInfo& info, const Image& image) override {
    auto lock = enter(id);
    if (!failures_.empty()) {
      ErrorCode code = failures_.front();
      failures_.pop_front();
      event("refuse " + databases_[id].info.path);
      return make_error(code, "as the test wants");
    }
    Database& database = databases_[id];
    if (!database.position.same_place(info.pre)) return make_error(ErrorCode::kPositionMismatch, "mismatch");
    Buffer content(image.bytes.begin(), image.bytes.end());
    if (!image.file_path.empty()) {
      std::ifstream file(image.file_path, std::ios::binary);
      content.assign(std::istreambuf_iterator<char>(file), {});
      event("spooled");
    }
    if (content.size() != info.image_size || hash(database.position.checksum, content) != info.post.checksum)
      return make_error(ErrorCode::kCorrupt, "does not verify");
    database.position = info.post;
    event("change " + database.info.path);
    report(id, lock);
    return {};
  }
  std::string spool_directory() const override { return spool_; }
  void listen(std::function<void(const Progress&)> progressed) override {
    std::lock_guard lock(listener_mutex_);
    progressed_ = std::move(progressed);
  }

 private:
  std::unique_lock<std::mutex> enter(DatabaseId id) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return held_ != id; });
    return lock;
  }
  void event(std::string what) {
    events_.push_back(std::move(what));
    changed_.notify_all();
  }
  void report(DatabaseId id, std::unique_lock<std::mutex>& lock) {
    Progress progress{id, databases_[id].position, databases_[id].position};
    lock.unlock();
    std::lock_guard listener_lock(listener_mutex_);
    if (progressed_) progressed_(progress);
  }

  const std::string spool_;
  std::mutex mutex_;
  std::mutex listener_mutex_;
  std::condition_variable changed_;
  std::map<DatabaseId, Database> databases_;
  std::vector<std::string> events_;
  std::deque<ErrorCode> failures_;
  int failing_drops_ = 0;
  DatabaseId held_;
  std::function<void(const Progress&)> progressed_;
};

}  // namespace rillfs::testing
