#include "fs/integrity_check.h"

#include <algorithm>
#include <thread>

#include "replication/ltx/checksum.h"

namespace rillfs {
namespace {

constexpr std::uint64_t kStretch = std::uint64_t{1} << 20;  ///< bytes between two looks at the clock
constexpr std::uint32_t kPageSizeMax = 65536;
constexpr std::size_t kDamagedNamed = 100;
constexpr std::chrono::milliseconds kSettle{50};
constexpr int kAttemptsMax = 40;

/// Looks at the pages of one stretch from `next` on; where to go on.
Result<Pgno> check_stretch(Database& database, Pgno next, std::uint32_t page_size, Buffer& page,
                           CheckReport& report) {
  const auto count = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, kStretch / page_size));
  const Pgno last = database.page_count();
  const std::uint64_t offset = (std::uint64_t{next.value} - 1) * page_size;
  // Else damage of the disk stays unseen behind what memory has.
  database.read_from_disk(offset, std::uint64_t{count} * page_size);
  std::uint32_t done = 0;
  for (; done < count && next <= last; ++done, next = next.next()) {
    if (next == ltx::lock_pgno(page_size)) continue;
    RILL_ASSIGN(Database::PageCheck result, database.check_page(next, page));
    report.pages += result == Database::PageCheck::kUnknown ? 0 : 1;
    report.unknown += result == Database::PageCheck::kUnknown ? 1 : 0;
    if (result != Database::PageCheck::kDamaged) continue;
    ++report.damaged;
    if (report.damaged_pages.size() < kDamagedNamed) report.damaged_pages.push_back(next);
  }
  // Read once, and not to push out of memory what others need.
  database.read_from_disk(offset, std::uint64_t{count} * page_size);
  return next;
}

/// The pages' checksums, counted anew, against the position's and the running ones.
std::string compare_sums(const Content& content) {
  const Content counted(content.position(), content.page_size(), content.sums());
  if (counted.sum() == content.position().checksum && counted.hash() == content.hash()) return {};
  return "the checksums of its pages sum up to " + to_hex(counted.sum().value) + ", and its position is " +
         to_text(content.position()) +
         ". The node's memory is not to be trusted: restart rillfs, and look after the machine";
}

/// Content that is being taken over as it is settles in a moment.
Result<Pgno> check_settled_stretch(Database& database, Pgno next, std::uint32_t page_size, Buffer& page,
                                   CheckReport& report) {
  for (int attempt = 0;; ++attempt) {
    CheckReport so_far = report;
    auto checked = check_stretch(database, next, page_size, page, so_far);
    const bool again = !checked && checked.error().code == ErrorCode::kBusy && attempt < kAttemptsMax;
    if (!again) {
      report = std::move(so_far);
      return checked;
    }
    std::this_thread::sleep_for(kSettle);
  }
}

Result<void> check_pages(Database& database, const CheckPace& pace, CheckReport& report) {
  Buffer page(kPageSizeMax);
  const std::uint32_t page_size = database.page_size();
  for (Pgno next{1}; page_size != 0 && next <= database.page_count();) {
    const std::uint64_t before = (std::uint64_t{next.value} - 1) * page_size;
    if (database.is_dropped()) return make_error(ErrorCode::kNotFound, "it was removed meanwhile");
    if (database.page_size() != page_size)
      return make_error(ErrorCode::kBusy, "its page size has changed meanwhile; look again");
    RILL_ASSIGN(next, check_settled_stretch(database, next, page_size, page, report));
    const std::uint64_t done = (std::uint64_t{next.value} - 1) * page_size;
    const std::uint64_t total = std::uint64_t{database.page_count().value} * page_size;
    if (!pace(done - before, std::min(done, total), total))
      return make_error(ErrorCode::kClosed, "the check was ended before it was complete");
  }
  return {};
}

}  // namespace

CheckReport check_database(Database& database, Clock& clock, const CheckPace& pace) {
  CheckReport report;
  report.name = database.path();
  auto checked = check_pages(database, pace, report);
  report.complete = bool(checked);
  const Content content = database.content();
  report.position = content.position();
  report.size = std::uint64_t{content.page_count().value} * content.page_size();
  if (!checked) {
    report.problem = checked.error().message;
    return report;
  }
  database.checked({clock.wall_ms(), report.pages, report.unknown, report.damaged}, content.page_count());
  report.problem = compare_sums(content);
  // On a replica it may have been put right since, or be on its way.
  if (report.damaged != 0) {
    const std::string now = database.health().problem;
    report.problem = now.empty() ? std::to_string(report.damaged) +
                                       " damaged pages were found; the primary has sent it anew since"
                                 : now;
  }
  return report;
}

}  // namespace rillfs
