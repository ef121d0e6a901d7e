// The primary's databases as the publisher reads them: change sets from the log, pages for snapshots.
#include "fs/databases.h"
#include "fs/log_pin.h"
#include "replication/log/compacting_reader.h"
#include "replication/ltx/checksum.h"
#include "replication/wire/limits.h"

namespace rillfs {
namespace {

/// A snapshot is as long under way as the database is large, and a replica that takes it no faster than the
/// primary commits would never be able to follow either. So this much log suffices for all that can.
std::uint64_t log_beside_a_snapshot(const Database& database) {
  return std::uint64_t{database.page_count().value} * database.page_size();
}

class LogCursor final : public stream::ChangeSetCursor {
 public:
  LogCursor(std::shared_ptr<Database> database, log::LogReader reader, Txid after)
      : database_(std::move(database)), pin_(*database_, after, 0), reader_(std::move(reader)) {}

  Result<std::optional<stream::ChangeSetInfo>> next() override {
    RILL_ASSIGN(auto record, reader_.next(database_->published().txid));
    if (!record) return std::optional<stream::ChangeSetInfo>();
    const log::RecordInfo& info = record->info;
    pin_.move_to(info.max_txid);
    return std::optional<stream::ChangeSetInfo>(
        stream::ChangeSetInfo{info.pre_position(), info.post_position(), info.image_size, record->oldest_ms,
                              info.log_offset, record->log_size});
  }
  Result<std::size_t> read(MutableBytes into) override { return reader_.read(into); }

 private:
  const std::shared_ptr<Database> database_;
  LogPin pin_;
  log::CompactingReader reader_;
};

/// Pages as they are when they are asked for; the log after `start` makes the result exact, so it is pinned.
class FuzzyPages final : public stream::SnapshotCursor {
 public:
  explicit FuzzyPages(std::shared_ptr<Database> database)
      : database_(std::move(database)),
        start_(database_->published()),
        pin_(*database_, start_.txid, log_beside_a_snapshot(*database_)) {
    page_size_ = database_->page_size();
    page_count_ = database_->page_count();
    page_.resize(wire::kPageSizeMax);  // what is read may have become another size meanwhile
  }

  Position start() const override { return start_; }
  std::uint32_t page_size() const override { return page_size_; }
  Pgno page_count() const override { return page_count_; }
  Position end() const override { return end_; }

  Result<std::optional<Page>> next() override {
    for (;; next_ = next_.next()) {
      const Pgno pgno = next_;
      if (pgno.value - run_first_.value < run_count_) return page_of_run(pgno);
      if (pgno > database_->page_count() || database_->page_size() != page_size_) {
        // With another page size the change set that made it so has every page.
        end_ = database_->published();
        return std::optional<Page>();
      }
      if (pgno == ltx::lock_pgno(page_size_)) continue;
      run_.resize(kRunSize);
      run_first_ = pgno;
      run_count_ = database_->read_committed_run(pgno, page_size_, run_);
      if (run_count_ != 0) return page_of_run(pgno);
      RILL_ASSIGN(bool present, database_->read_committed_page(pgno, page_));
      if (!present) continue;
      next_ = pgno.next();
      return std::optional<Page>(Page{pgno, Bytes(page_).first(page_size_)});
    }
  }

 private:
  static constexpr std::size_t kRunSize = 256 << 10;
  std::optional<Page> page_of_run(Pgno pgno) {
    next_ = pgno.next();
    return Page{pgno,
                Bytes(run_).subspan(std::size_t{pgno.value - run_first_.value} * page_size_, page_size_)};
  }

  const std::shared_ptr<Database> database_;
  const Position start_;
  const LogPin pin_;
  Position end_;
  Buffer run_;  ///< pages read at once
  Pgno run_first_{1};
  std::uint32_t run_count_ = 0;
  std::uint32_t page_size_ = 0;
  Pgno page_count_;
  Pgno next_{1};
  Buffer page_;
};

/// The same, page for page as they are asked for.
class CommittedPages final : public stream::PageSource {
 public:
  explicit CommittedPages(std::shared_ptr<Database> database)
      : database_(std::move(database)),
        start_(database_->published()),
        pin_(*database_, start_.txid, log_beside_a_snapshot(*database_)) {
    page_size_ = database_->page_size();
    page_.resize(wire::kPageSizeMax);
  }

  Position start() const override { return start_; }
  Position position() const override { return database_->published(); }
  std::uint32_t page_size() const override { return database_->page_size(); }
  Pgno page_count() const override { return database_->page_count(); }
  std::vector<std::uint64_t> sums(Pgno first, std::uint32_t count) const override {
    return database_->page_sums(first, count);
  }
  Result<std::optional<Bytes>> read(Pgno pgno) override {
    RILL_ASSIGN(bool present, database_->read_committed_page(pgno, page_));
    return present ? std::optional(Bytes(page_).first(page_size_)) : std::nullopt;
  }

 private:
  const std::shared_ptr<Database> database_;
  const Position start_;
  const LogPin pin_;
  std::uint32_t page_size_ = 0;
  Buffer page_;
};

}  // namespace

std::vector<stream::DatabaseState> Databases::list() {
  std::vector<stream::DatabaseState> states;
  for (const auto& database : all()) states.push_back(database->state());
  return states;
}

std::optional<stream::DatabaseState> Databases::find(DatabaseId id) {
  auto database = find_by_id(id);
  if (!database) return std::nullopt;
  return database->state();
}

Result<std::unique_ptr<stream::ChangeSetCursor>> Databases::follow(DatabaseId id, const Position& after) {
  auto database = find_by_id(id);
  if (!database) return make_error(ErrorCode::kNotFound, "database " + to_hex(id.value));
  RILL_ASSIGN(auto reader, log::LogReader::open(environment_.files, database->log_directory(), id, after));
  return std::unique_ptr<stream::ChangeSetCursor>(new LogCursor(database, std::move(reader), after.txid));
}

Result<std::unique_ptr<stream::SnapshotCursor>> Databases::snapshot(DatabaseId id) {
  auto database = find_by_id(id);
  if (!database) return make_error(ErrorCode::kNotFound, "database " + to_hex(id.value));
  return std::unique_ptr<stream::SnapshotCursor>(new FuzzyPages(database));
}

Result<std::unique_ptr<stream::PageSource>> Databases::pages(DatabaseId id) {
  auto database = find_by_id(id);
  if (!database) return make_error(ErrorCode::kNotFound, "database " + to_hex(id.value));
  return std::unique_ptr<stream::PageSource>(new CommittedPages(database));
}

void Databases::listen(std::function<void(DatabaseId)> changed) {
  Lock lock(listeners_mutex_);
  changed_ = std::move(changed);
}

}  // namespace rillfs
