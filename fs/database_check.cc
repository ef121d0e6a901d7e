// Pages as they lie on disk, compared with the checksums of what was committed.
//
// Which pages can be compared. On the primary a page's newest committed content is in the last frame that the
// WAL has of it, else in the file; so the file must have what the log's end says of every page that is not in
// the WAL's frames. A page in the frames may have any of its versions in the file: checkpoints write it when
// they like. What an open transaction has staged is not in the file at all. On a replica, whose WAL is not
// captured, every page must be in the file as the log's end has it, but for those in `ahead_`.
//
// A mismatch is never mended here. On the primary reads of the page fail; on a replica the database is out of
// service until the primary has sent it anew.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>

#include "fs/database.h"
#include "replication/ltx/checksum.h"

namespace rillfs {
namespace {

constexpr Label kRead = "database: read";
constexpr Label kCheck = "check: read page";
constexpr Label kMend = "snapshot: mend file";
constexpr std::size_t kDamagedKept = 4096;  ///< pages
/// A page that is written to again and again while it is read settles before this many attempts.
constexpr int kAttemptsMax = 16;

const char* kPrimaryRemedy =
    "Nothing was changed. Check the disk. If a replica has the database whole (`rillfs verify` there), save "
    "its "
    "copy with `rillfs export`, remove the database here and `rillfs import` the copy";
const char* kReplicaRemedy =
    "Here it is out of service until the primary has sent it anew, which was asked for. Check the disk";

}  // namespace

ExpectedPages Database::expected_on_primary(std::uint64_t offset, std::size_t size) const {
  const std::uint32_t page_size = content_.page_size();
  const bool other_wal = scanner_.header() && scanner_.page_size() != page_size;
  if (!replicated_ || has_unlogged_writes() || other_wal) return {};
  ExpectedPages expected(offset, size, page_size);
  for (std::size_t i = 0; i < expected.count(); ++i) {
    const Pgno pgno{expected.first().value + static_cast<std::uint32_t>(i)};
    const std::uint64_t at = (std::uint64_t{pgno.value} - 1) * page_size;
    if (scanner_.frames().contains(pgno) || staging_.overlaps(at, page_size)) continue;
    expected.expect(i, content_.page(pgno));
  }
  return expected;
}

ExpectedPages Database::expected_on_replica(std::uint64_t offset, std::size_t size) const {
  const Content& content = content_on_replica();
  ExpectedPages expected(offset, size, content.page_size());
  for (std::size_t i = 0; i < expected.count(); ++i) {
    const Pgno pgno{expected.first().value + static_cast<std::uint32_t>(i)};
    if (!ahead_.contains(pgno)) expected.expect(i, content.page(pgno));
  }
  return expected;
}

Result<std::size_t> Database::read(MutableBytes into, std::uint64_t offset, Caller caller) {
  if (dropped_) return file_->read_at(into, offset, kRead);
  if (!environment_.primary) return read_on_replica(into, offset, caller);
  std::size_t got = 0;
  ExpectedPages expected;
  {
    Lock lock(mutex_);
    RILL_ASSIGN(got,
                staging_.empty() ? file_->read_at(into, offset, kRead) : staging_.read(*file_, into, offset));
    expected = expected_on_primary(offset, got);
  }
  RILL_TRY(require_expected(expected.mismatches(into.first(got)), expected));
  return got;
}

// The file is written to while it is read: what does not match counts only if no change of what is expected
// can explain it.
Result<std::size_t> Database::read_on_replica(MutableBytes into, std::uint64_t offset, Caller caller) {
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    ExpectedPages expected;
    {
      Lock lock(checks_mutex_);
      if (out_of_service_ && caller == Caller::kApplication) return out_of_service_error();
      expected = expected_on_replica(offset, into.size());
    }
    RILL_ASSIGN(std::size_t got, file_->read_at(into, offset, kRead));
    auto wrong = expected.mismatches(into.first(got));
    // The daemon must be able to open what it is to write anew.
    if (caller == Caller::kDaemon) std::erase_if(wrong, [](const auto& one) { return one.pgno.value == 1; });
    if (wrong.empty()) return got;
    const std::size_t before = wrong.size();
    std::erase_if(wrong, [&](const auto& one) { return !still_expected(one.pgno, one.expected); });
    if (wrong.size() < before || attempt == 0) continue;
    RILL_TRY(require_expected(wrong, expected));
  }
  return Error{ErrorCode::kBusy, EIO, path() + ": it changes faster than it can be read"};
}

bool Database::still_expected(Pgno pgno, Checksum sum) const {
  Lock lock(checks_mutex_);
  return !ahead_.contains(pgno) && content_on_replica().page(pgno) == sum;
}

Result<void> Database::require_expected(const std::vector<ExpectedPages::Mismatch>& wrong,
                                        const ExpectedPages& expected) {
  for (const auto& one : wrong) {
    PageDamage damage{one.pgno, expected.page_size(), one.expected, one.found, false, 0, ""};
    damage.offset = (std::uint64_t{one.pgno.value} - 1) * damage.page_size;
    report_damage(damage);
  }
  if (wrong.empty()) return {};
  return Error{ErrorCode::kCorrupt, EIO,
               path() + ": page " + std::to_string(wrong.front().pgno.value) + " is not what was committed"};
}

Error Database::out_of_service_error() const {
  return Error{ErrorCode::kCorrupt, EIO, "the database is damaged here; the primary is sending it anew"};
}

void Database::report_damage(const PageDamage& damage) {
  bool is_new = false;
  bool ask = false;
  {
    Lock lock(checks_mutex_);
    is_new = damaged_.size() < kDamagedKept && damaged_.emplace(damage.pgno, damage).second;
    if (is_new) ++damaged_ever_;
    has_damage_ = true;
    if (!environment_.primary) ask = !std::exchange(out_of_service_, true);
  }
  if (is_new || ask)
    spdlog::error("{}: {}. {}", path(), to_text(damage),
                  environment_.primary ? kPrimaryRemedy : kReplicaRemedy);
  if (ask) environment_.damaged(id());
}

void Database::found_whole(Pgno pgno) {
  Lock lock(checks_mutex_);
  if (!out_of_service_) damaged_.erase(pgno);
}

void Database::read_from_disk(std::uint64_t offset, std::uint64_t size) const {
  file_->drop_cached(offset, size);
}

Result<Database::PageCheck> Database::check_page(Pgno pgno, MutableBytes into) {
  if (!environment_.primary) return check_page_on_replica(pgno, into);
  PageDamage damage;
  damage.pgno = pgno;
  Result<void> got;
  {
    Lock lock(mutex_);
    if (has_unlogged_writes())
      return make_error(ErrorCode::kBusy, info_.path + ": its content is being taken over as it is");
    damage.page_size = content_.page_size();
    damage.expected = content_.page(pgno);
    // What a failed commit has left half copied: the log has it all.
    const bool half_copied = !failure_.empty() && !staging_.empty();
    if (!damage.expected.present() || damage.page_size > into.size() || half_copied)
      return PageCheck::kUnknown;
    const auto frame = scanner_.frames().find(pgno);
    damage.in_wal = wal_ && frame != scanner_.frames().end() && scanner_.page_size() == damage.page_size;
    damage.offset = damage.in_wal ? scanner_.page_offset(frame->second)
                                  : (std::uint64_t{pgno.value} - 1) * damage.page_size;
    got = read_page_below(pgno, damage.page_size, into);
  }
  return judge_page(std::move(damage), got, into);
}

Result<Database::PageCheck> Database::check_page_on_replica(Pgno pgno, MutableBytes into) {
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    PageDamage damage;
    damage.pgno = pgno;
    {
      Lock lock(checks_mutex_);
      damage.page_size = content_on_replica().page_size();
      damage.expected = content_on_replica().page(pgno);
      if (ahead_.contains(pgno) || !damage.expected.present() || damage.page_size > into.size())
        return PageCheck::kUnknown;
    }
    damage.offset = (std::uint64_t{pgno.value} - 1) * damage.page_size;
    const MutableBytes page = into.first(damage.page_size);
    auto read = file_->read_at(page, damage.offset, kCheck);
    if (read) std::fill(page.begin() + static_cast<std::ptrdiff_t>(*read), page.end(), 0);
    const bool same = read && ltx::page_checksum(pgno, page) == damage.expected;
    if (!same && (attempt == 0 || !still_expected(pgno, damage.expected))) continue;
    return judge_page(std::move(damage), read ? Result<void>() : read.error(), into);
  }
  return PageCheck::kUnknown;
}

Result<Database::PageCheck> Database::judge_page(PageDamage damage, const Result<void>& read, Bytes page) {
  if (!read && read.error().code != ErrorCode::kIo) return read.error();
  if (!read) damage.error = read.error().message;
  if (read) damage.found = ltx::page_checksum(damage.pgno, page.first(damage.page_size));
  if (damage.found == damage.expected) {
    if (has_damage_) found_whole(damage.pgno);
    return PageCheck::kWhole;
  }
  report_damage(damage);
  return PageCheck::kDamaged;
}

Result<void> Database::mend_file(File& snapshot, const Content& content) {
  Buffer page(content.page_size());
  Buffer good(content.page_size());
  for (Pgno pgno{1}; pgno <= content.page_count(); pgno = pgno.next()) {
    Lock lock(mutex_);  // for a page, so that requests go on
    if (content.page_size() != content_.page_size() || pgno > content_.page_count()) return {};
    const Checksum sum = content_.page(pgno);
    if (!sum.present() || sum != content.page(pgno) || !still_expected(pgno, sum)) continue;
    const std::uint64_t offset = (std::uint64_t{pgno.value} - 1) * page.size();
    auto got = file_->read_at(page, offset, kMend);
    if (got && *got == page.size() && ltx::page_checksum(pgno, page) == sum) continue;
    RILL_TRY(snapshot.read_exact_at(good, offset, kMend));
    RILL_TRY(file_->write_at(good, offset, kMend));
  }
  return {};
}

void Database::content_replaced(const Position& before) {
  const Position now = content_.position();
  if (now.same_place(before)) {
    if (out_of_service_) serve_again(info_.path);
    return;
  }
  ahead_.replaced(now);
  if (out_of_service_) serves_from_ = now;
}

void Database::note_applied(const Position& position) {
  const std::string name = has_damage_ ? path() : std::string();
  Lock lock(checks_mutex_);
  ahead_.applied(position);
  if (out_of_service_ && serves_from_ && position.same_place(*serves_from_)) serve_again(name);
}

void Database::serve_again(const std::string& name) {
  out_of_service_ = false;
  serves_from_.reset();
  damaged_.clear();
  has_damage_ = false;
  spdlog::info("{}: the primary has sent it anew; it is in service again", name);
}

Database::Health Database::health() const {
  Lock lock(checks_mutex_);
  Health health;
  health.damaged_pages = damaged_.size();
  health.damaged_ever = damaged_ever_;
  health.out_of_service = out_of_service_;
  health.last_check = last_check_;
  if (damaged_.empty()) {
    health.problem = not_settled_;
    return health;
  }
  health.problem = to_text(damaged_.begin()->second);
  if (damaged_.size() > 1) health.problem += ", and " + std::to_string(damaged_.size() - 1) + " more pages";
  health.problem += std::string(". ") + (environment_.primary ? kPrimaryRemedy : kReplicaRemedy);
  return health;
}

void Database::checked(const LastCheck& check, Pgno page_count) {
  Lock lock(checks_mutex_);
  last_check_ = check;
  if (!out_of_service_) damaged_.erase(damaged_.upper_bound(page_count), damaged_.end());
  has_damage_ = !damaged_.empty();
}

}  // namespace rillfs
