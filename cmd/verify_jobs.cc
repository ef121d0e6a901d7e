#include "cmd/verify_jobs.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <nlohmann/json.hpp>

#include "cmd/control_protocol.h"
#include "cmd/printable.h"
#include "cmd/verify.h"
#include "fs/scrubber.h"
#include "replication/base/signals.h"

namespace rillfs::cmd {
namespace {

using nlohmann::json;

constexpr Duration kPatience = std::chrono::seconds(10);
constexpr std::size_t kJobsMax = 16;
constexpr std::size_t kReadersMax = 4;
/// A job notices that it is not wanted any more at least this often.
constexpr Duration kNap = std::chrono::milliseconds(100);

Result<std::vector<std::string>> names_in(const json& request) {
  std::vector<std::string> names;
  for (const json& hex : request.value("names_hex", json::array())) {
    auto name = bytes_of_hex(hex.get<std::string>());
    if (!name) return make_error(ErrorCode::kInvalid, "names_hex: not hex");
    names.push_back(std::move(*name));
  }
  return names;
}

}  // namespace

struct VerifyJobs::Job {
  std::vector<std::shared_ptr<Database>> databases;
  std::vector<Databases::OutOfService> unreadable;
  std::uint64_t rate = 0;
  std::thread thread;
  std::atomic<std::size_t> next{0};  ///< database that nobody reads yet

  mutable Mutex mutex;  // taken inside the owner's mutex_ or alone
  std::uint64_t done RILL_GUARDED_BY(mutex) = 0;
  std::uint64_t total RILL_GUARDED_BY(mutex) = 0;
  bool finished RILL_GUARDED_BY(mutex) = false;
  Monotonic asked RILL_GUARDED_BY(mutex);
  std::map<std::size_t, CheckReport> reports RILL_GUARDED_BY(mutex);  ///< in the order of `databases`

  bool is_over(Monotonic now) const {
    Lock lock(mutex);
    return finished && now - asked > kPatience;
  }
};

VerifyJobs::~VerifyJobs() { stop(); }

void VerifyJobs::stop() {
  std::unordered_map<std::uint64_t, std::shared_ptr<Job>> jobs;
  {
    Lock lock(mutex_);
    stopping_ = true;
    jobs.swap(jobs_);
  }
  for (auto& [number, job] : jobs)
    if (job->thread.joinable()) job->thread.join();
}

json VerifyJobs::begin(const json& request) {
  auto names = names_in(request);
  if (!names) return error_reply(names.error());
  const bool all = names->empty();
  auto job = std::make_shared<Job>();
  job->rate = request.value("rate", std::uint64_t{0});
  for (const auto& database : databases_.all()) {
    const std::string path = database->path();
    if (all || std::erase(*names, path) != 0) job->databases.push_back(database);
  }
  for (const auto& one : databases_.out_of_service()) {
    if (all || std::erase(*names, one.path) != 0) job->unreadable.push_back(one);
  }
  if (!names->empty())
    return error_reply(make_error(ErrorCode::kNotFound,
                                  "there is no database " + names->front() + "; 'rillfs status' lists them"));
  std::sort(job->databases.begin(), job->databases.end(),
            [](const auto& a, const auto& b) { return a->path() < b->path(); });
  std::uint64_t total = 0;
  for (const auto& database : job->databases) total += database->details().size;
  {
    Lock lock(job->mutex);
    job->total = total;
    job->asked = clock_.monotonic();
  }
  forget_old();
  Lock lock(mutex_);
  if (stopping_ || jobs_.size() >= kJobsMax)
    return error_reply(make_error(ErrorCode::kBusy, "too many checks are running; wait for one of them"));
  const std::uint64_t number = next_++;
  jobs_[number] = job;
  job->thread = std::thread([this, job] {
    block_signals();
    work(*job);
  });
  return {{"job", number}};
}

void VerifyJobs::forget_old() {
  std::vector<std::shared_ptr<Job>> old;
  {
    Lock lock(mutex_);
    for (auto it = jobs_.begin(); it != jobs_.end();) {
      const bool over = it->second->is_over(clock_.monotonic());
      if (over) old.push_back(it->second);
      it = over ? jobs_.erase(it) : std::next(it);
    }
  }
  for (const auto& job : old) job->thread.join();
}

bool VerifyJobs::wanted(const Job& job) const {
  {
    Lock lock(mutex_);
    if (stopping_) return false;
  }
  Lock lock(job.mutex);
  return clock_.monotonic() - job.asked < kPatience;
}

void VerifyJobs::read_databases(Job& job) {
  Throttle throttle(clock_, job.rate);
  auto pace = [&](std::uint64_t bytes, std::uint64_t, std::uint64_t) {
    {
      Lock lock(job.mutex);
      job.done = std::min(job.done + bytes, job.total);
    }
    if (job.rate == 0) return wanted(job);
    for (Duration left = throttle.after(bytes); left > Duration::zero() && wanted(job); left -= kNap)
      std::this_thread::sleep_for(std::min(left, kNap));
    return wanted(job);
  };
  for (std::size_t i = job.next++; i < job.databases.size() && wanted(job); i = job.next++) {
    CheckReport report = check_database(*job.databases[i], clock_, pace);
    Lock lock(job.mutex);
    job.reports.emplace(i, std::move(report));
  }
}

void VerifyJobs::work(Job& job) {
  Lock turn(turn_);
  const std::size_t readers = job.rate != 0 ? 1 : std::min(kReadersMax, job.databases.size());
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < readers; ++i) {
    others.emplace_back([this, &job] {
      block_signals();
      read_databases(job);
    });
  }
  read_databases(job);
  for (std::thread& other : others) other.join();
  for (const auto& one : job.unreadable) {
    CheckReport report;
    report.name = one.path.empty() ? "(dbs/" + to_hex(one.id.value) + ")" : one.path;
    report.problem = one.why;
    Lock lock(job.mutex);
    job.reports.emplace(job.databases.size() + job.reports.size(), std::move(report));
  }
  Lock lock(job.mutex);
  job.finished = true;
}

std::shared_ptr<VerifyJobs::Job> VerifyJobs::find(std::uint64_t number) const {
  Lock lock(mutex_);
  auto it = jobs_.find(number);
  return it == jobs_.end() ? nullptr : it->second;
}

json VerifyJobs::progress(const json& request) {
  const auto found = find(request.at("job").get<std::uint64_t>());
  if (!found) return error_reply(make_error(ErrorCode::kNotFound, "there is no such check"));
  Job& job = *found;
  Lock lock(job.mutex);
  job.asked = clock_.monotonic();
  json reply = {{"done", job.finished ? job.total : std::min(job.done, job.total)},
                {"total", job.total},
                {"finished", job.finished}};
  if (!job.finished) return reply;
  reply["databases"] = json::array();
  for (const auto& [place, report] : job.reports) reply["databases"].push_back(to_json(report));
  return reply;
}

}  // namespace rillfs::cmd
