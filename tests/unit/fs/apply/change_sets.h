// Change sets as a primary would make them: the transactions that a real SQLite writes to its WAL.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fs/apply/descriptor.h"
#include "fs/apply/page_source.h"
#include "fs/sqlite/wal.h"
#include "tests/unit/fs/sqlite_support.h"

namespace rillfs::apply {

struct ChangeSet {
  std::map<Pgno, Buffer> pages;
  Pgno commit{0};
};

class ChangeSetPages final : public PageSource {
 public:
  explicit ChangeSetPages(const ChangeSet& set) : at_(set.pages.begin()), end_(set.pages.end()) {}
  /// Fails instead of yielding page number `fail_at` (from 0).
  ChangeSetPages(const ChangeSet& set, int fail_at) : ChangeSetPages(set) { fail_at_ = fail_at; }
  Result<std::optional<Page>> next() override {
    if (fail_at_-- == 0) return make_error(ErrorCode::kCorrupt, "the source fails");
    if (at_ == end_) return std::optional<Page>();
    const Page page{at_->first, at_->second};
    ++at_;
    return std::optional<Page>(page);
  }

 private:
  std::map<Pgno, Buffer>::const_iterator at_;
  std::map<Pgno, Buffer>::const_iterator end_;
  int fail_at_ = -1;
};

/// A database with accounts whose sum never changes, and a counter that transaction n sets to n.
class Source {
 public:
  static constexpr int kAccounts = 100;
  static constexpr std::int64_t kSum = kAccounts * 100;

  Source(const std::string& path, std::uint32_t page_size) : path_(path), page_size_(page_size), db_(path) {
    db_.run("PRAGMA page_size=" + std::to_string(page_size) +
            "; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0;"
            "CREATE TABLE acc(id INTEGER PRIMARY KEY, bal INT, pad TEXT);"
            "WITH RECURSIVE n(i) AS(SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100)"
            " INSERT INTO acc SELECT i, 100, hex(randomblob(50)) FROM n;"
            "CREATE TABLE log(id INTEGER PRIMARY KEY, x TEXT);"
            "CREATE TABLE counter(n INT); INSERT INTO counter VALUES(0);");
    checkpoint();
    wal_ = std::move(Descriptor::open(path + "-wal")).value();
  }
  test::Sqlite& db() { return db_; }
  const std::string& path() const { return path_; }

  void checkpoint() {
    db_.run("PRAGMA wal_checkpoint(TRUNCATE)");
    frame_ = 1;
  }
  /// Copies the database as it is without the WAL.
  void copy_to(const std::string& replica) { test::write_all(replica, test::read_all(path_)); }

  ChangeSet transfer() {
    ++n_;
    std::string sql =
        "BEGIN; UPDATE acc SET bal=bal-1 WHERE id=1+abs(random()%100);"
        "UPDATE acc SET bal=bal+1 WHERE id=1+abs(random()%100);"
        "UPDATE acc SET bal=bal+(10000-(SELECT sum(bal) FROM acc)) WHERE id=7;"
        "INSERT INTO log(x) VALUES(hex(randomblob(abs(random()%600))));"
        "UPDATE counter SET n=" +
        std::to_string(n_) + ";";
    if (n_ % 50 == 49) sql += "DELETE FROM log WHERE id%7=3;";
    return commit(sql + "COMMIT;");
  }
  /// Runs one transaction and reads back what it wrote.
  ChangeSet commit(const std::string& sql) {
    db_.run(sql);
    ChangeSet set;
    Buffer frame(sqlite::frame_size(page_size_));
    for (;;) {
      const auto n = wal_.read_at(frame, sqlite::frame_offset(frame_, page_size_));
      if (!n || *n != frame.size()) break;
      ++frame_;
      const sqlite::FrameHeader header = sqlite::parse_frame_header(frame);
      set.pages[header.pgno].assign(frame.begin() + sqlite::kFrameHeaderSize, frame.end());
      set.commit = header.commit;
    }
    EXPECT_NE(set.commit.value, 0U) << sql;
    // VACUUM writes pages that the same transaction cuts off again.
    set.pages.erase(set.pages.upper_bound(set.commit), set.pages.end());
    return set;
  }

 private:
  std::string path_;
  std::uint32_t page_size_;
  test::Sqlite db_;
  Descriptor wal_;
  std::uint32_t frame_ = 1;
  std::int64_t n_ = 0;
};

/// What a reader checks within one read transaction. Returns what is wrong, or "".
class Reader {
 public:
  explicit Reader(const std::string& path) : db_(path) { db_.run("PRAGMA busy_timeout=5000"); }
  std::string look() {
    if (db_.try_run("BEGIN") != SQLITE_OK) return "begin";
    const std::int64_t sum = db_.number("SELECT sum(bal) FROM acc");
    const std::int64_t n = db_.number("SELECT n FROM counter");
    const std::int64_t rows = db_.number("SELECT count(*) FROM log");
    const std::int64_t sum_again = db_.number("SELECT sum(bal) FROM acc");
    const std::int64_t rows_again = db_.number("SELECT count(*) FROM log");
    if (db_.try_run("COMMIT") != SQLITE_OK) return "commit";
    if (sum != Source::kSum || sum_again != sum)
      return "sum " + std::to_string(sum) + " " + std::to_string(sum_again) + ": " +
             sqlite3_errmsg(db_.get());
    if (n < last_n_) return "went back from " + std::to_string(last_n_) + " to " + std::to_string(n);
    if (rows < 0 || rows_again != rows) return "not repeatable";
    last_n_ = n;
    return "";
  }
  std::int64_t last_n() const { return last_n_; }

 private:
  test::Sqlite db_;
  std::int64_t last_n_ = 0;
};

/// A process that runs `body(should_stop)` until told to stop; `body` returns true if all was well.
class ChildProcess {
 public:
  template <class Body>
  explicit ChildProcess(Body body) {
    if (pipe(stop_) != 0 || pipe(ready_) != 0) abort();
    pid_ = fork();
    if (pid_ != 0) {
      close(stop_[0]);
      close(ready_[1]);
      return;
    }
    close(stop_[1]);
    const bool good = body(*this);
    _exit(good ? 0 : 1);
  }
  ~ChildProcess() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    if (stop_[1] >= 0) close(stop_[1]);
    close(ready_[0]);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // In the child.
  void say_ready() { (void)!write(ready_[1], "r", 1); }
  bool should_stop() const {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(stop_[0], &set);
    timeval none{};
    return select(stop_[0] + 1, &set, nullptr, nullptr, &none) > 0;
  }
  void wait_for_stop() const {
    char byte;
    (void)!read(stop_[0], &byte, 1);
  }

  // In the parent.
  pid_t pid() const { return pid_; }
  void wait_ready() {
    char byte;
    ASSERT_EQ(read(ready_[0], &byte, 1), 1) << "the child died";
  }
  /// True if its body returned true.
  bool stop() {
    // A byte, not only the end of the pipe: a later child has inherited its other end.
    (void)!write(stop_[1], "s", 1);
    close(stop_[1]);
    stop_[1] = -1;
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  void kill_now() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  int stop_[2] = {-1, -1};
  int ready_[2] = {-1, -1};
};

}  // namespace rillfs::apply
