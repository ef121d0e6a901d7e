#include "cmd/transfer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "cmd/sqlite_connection.h"
#include "replication/base/bytes.h"
#include "replication/base/file_system.h"
#include "replication/base/random.h"
#include "replication/base/types.h"

namespace rillfs::cmd {
namespace {

namespace fs = std::filesystem;

// Small enough for a lively progress bar, large enough to cost nothing.
constexpr int kPagesPerStep = 512;
constexpr int kBusyRetries = 600;
constexpr int kBusyPauseMs = 100;

Error invalid(std::string message) { return make_error(ErrorCode::kInvalid, std::move(message)); }

/// A database begins with these 16 bytes (SQLite file format, section 1.3). SQLite takes an empty file for an
/// empty database, and would take a text file for an encrypted one: the first look is ours.
Result<void> require_database_header(const std::string& file) {
  PosixFileSystem files;
  RILL_ASSIGN(auto opened, files.open(file, OpenMode::kRead, "import: open source"));
  Buffer head(16);
  RILL_ASSIGN(std::size_t size, opened->read_at(head, 0, "import: read header"));
  if (size != 16 || std::memcmp(head.data(), "SQLite format 3", 16) != 0)
    return invalid(file +
                   " is not a SQLite database: it does not begin with 'SQLite format 3'; give one that "
                   "is, or make one from a dump with 'sqlite3 new.db < dump.sql'");
  return {};
}

Result<void> require_healthy(SqliteConnection& source, const std::string& file, const char* check) {
  auto verdict = source.value_of(std::string("PRAGMA ") + check + "(1)");
  if (!verdict) return verdict.error().with(file + " is damaged");
  if (*verdict != "ok")
    return make_error(ErrorCode::kCorrupt, file + " is damaged: " + *verdict +
                                               "; repair it first, with 'sqlite3 FILE .recover' for example");
  return {};
}

Result<void> require_references(SqliteConnection& source, const std::string& file) {
  RILL_ASSIGN(std::string table, source.value_of("PRAGMA foreign_key_check"));
  if (!table.empty())
    return make_error(ErrorCode::kCorrupt, file + " has rows in table '" + table +
                                               "' whose foreign keys point nowhere; mend them first, 'PRAGMA "
                                               "foreign_key_check' lists them");
  return {};
}

/// Copies everything in one transaction of the destination.
Result<void> copy_pages(SqliteConnection& from, SqliteConnection& to, const TransferProgress& progress) {
  sqlite3_backup* backup = sqlite3_backup_init(to.get(), "main", from.get(), "main");
  if (backup == nullptr) return to.last_error("copy");
  int code = SQLITE_OK;
  for (int retries = 0; code == SQLITE_OK && retries < kBusyRetries;) {
    code = sqlite3_backup_step(backup, kPagesPerStep);
    int total = sqlite3_backup_pagecount(backup);
    if (progress) progress(static_cast<std::uint64_t>(total - sqlite3_backup_remaining(backup)), total);
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
      if (++retries == kBusyRetries) break;
      sqlite3_sleep(kBusyPauseMs);
      code = SQLITE_OK;
    }
  }
  int finished = sqlite3_backup_finish(backup);
  if (code == SQLITE_DONE && finished == SQLITE_OK) return {};
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
    return make_error(ErrorCode::kBusy, "the database is in use by others; stop writing to it and try again");
  return to.last_error("copy");
}

/// Pages of another size cannot be copied over a database in WAL mode.
Result<void> leave_wal(SqliteConnection& target, SqliteConnection& source) {
  RILL_ASSIGN(std::string mode, target.value_of("PRAGMA journal_mode"));
  RILL_ASSIGN(std::string ours, target.value_of("PRAGMA page_size"));
  RILL_ASSIGN(std::string theirs, source.value_of("PRAGMA page_size"));
  if (mode != "wal" || ours == theirs) return {};
  auto changed = target.value_of("PRAGMA journal_mode=DELETE");
  if (changed && *changed == "delete") return {};
  return make_error(ErrorCode::kBusy,
                    "the database there has pages of " + ours + " bytes, the new one of " + theirs +
                        ", and it is in use; stop the applications that have it open and try again");
}

Result<void> set_journal_mode(SqliteConnection& target, const std::string& mode) {
  RILL_ASSIGN(std::string now, target.value_of("PRAGMA journal_mode=" + mode));
  if (now == mode) return {};
  return make_error(ErrorCode::kBusy, "the database was copied, but its journal mode is still " + now +
                                          "; run 'PRAGMA journal_mode=" + mode + "' when nobody uses it");
}

Result<void> make_parents(const std::string& path) {
  std::error_code failed;
  fs::create_directories(fs::path(path).parent_path(), failed);
  if (failed) return errno_error(failed.value(), "make the directory of " + path);
  return {};
}

Result<void> sync_path(const std::string& path, int flags) {
  int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return errno_error(errno, "open " + path);
  int failed = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  if (failed != 0) return errno_error(failed, "sync " + path);
  return {};
}

/// The unfinished copy; removed with its companions unless it was kept.
class TemporaryCopy {
 public:
  explicit TemporaryCopy(const std::string& file)
      : path_(file + ".tmp-" + to_hex(SystemRandom().next_id())) {}
  TemporaryCopy(const TemporaryCopy&) = delete;
  TemporaryCopy& operator=(const TemporaryCopy&) = delete;
  ~TemporaryCopy() {
    for (const char* suffix : {"", "-journal", "-wal", "-shm"}) unlink((path_ + suffix).c_str());
  }
  const std::string& path() const { return path_; }

  /// Without `force` by link(2), which refuses an existing name: a file made meanwhile survives.
  Result<void> publish(const std::string& file, bool force) {
    if (force) {
      if (rename(path_.c_str(), file.c_str()) != 0) return errno_error(errno, "rename to " + file);
    } else if (link(path_.c_str(), file.c_str()) != 0) {
      if (errno == EEXIST) return invalid(file + " exists; give --force to replace it, or another name");
      // Some filesystems have no links.
      if (access(file.c_str(), F_OK) == 0) return invalid(file + " exists; give --force to replace it");
      if (rename(path_.c_str(), file.c_str()) != 0) return errno_error(errno, "rename to " + file);
    }
    std::string directory = fs::path(file).parent_path().string();
    return sync_path(directory.empty() ? "." : directory, O_RDONLY | O_DIRECTORY);
  }

 private:
  std::string path_;
};

Result<void> copy_out(const std::string& from, const std::string& to, const TransferProgress& progress) {
  RILL_ASSIGN(auto source, SqliteConnection::open(from, SQLITE_OPEN_READWRITE));
  RILL_ASSIGN(std::string mode, source.value_of("PRAGMA journal_mode"));
  RILL_TRY(source.run("BEGIN"));
  RILL_TRY(source.value_of("SELECT count(*) FROM sqlite_schema"));  // takes the snapshot
  RILL_ASSIGN(auto target, SqliteConnection::open(to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  RILL_TRY(copy_pages(source, target, progress));
  RILL_ASSIGN(std::string verdict, target.value_of("PRAGMA quick_check(1)"));
  if (verdict != "ok") return make_error(ErrorCode::kCorrupt, from + " is damaged: " + verdict);
  return {};
}

}  // namespace

Result<std::string> path_in_mount(const std::string& mountpoint, const std::string& name) {
  fs::path path(name);
  bool clean =
      !name.empty() && name.find('\0') == std::string::npos && path.is_relative() && name.back() != '/';
  for (const fs::path& part : path)
    if (part == "." || part == "..") clean = false;
  if (!clean)
    return invalid("'" + name + "' is not a name in the mount; give one like app.db or shop/orders.db");
  return mountpoint + "/" + name;
}

Result<void> import_database(const std::string& file, const std::string& mountpoint, const std::string& name,
                             const TransferProgress& progress) {
  RILL_ASSIGN(std::string path, path_in_mount(mountpoint, name));
  RILL_TRY(require_database_header(file));
  RILL_ASSIGN(auto source, SqliteConnection::open(file, SQLITE_OPEN_READONLY));
  // One read transaction over checks and copy: what was checked is what is copied.
  RILL_TRY(source.run("BEGIN"));
  RILL_TRY(require_healthy(source, file, "integrity_check"));
  RILL_TRY(require_references(source, file));
  RILL_ASSIGN(std::string mode, source.value_of("PRAGMA journal_mode"));

  RILL_TRY(make_parents(path));
  RILL_ASSIGN(auto target, SqliteConnection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  std::error_code ignored;
  if (fs::equivalent(file, path, ignored)) return invalid(file + " is that very database already");
  RILL_TRY(leave_wal(target, source));
  if (auto copied = copy_pages(source, target, progress); !copied)
    return copied.error().with("import " + name);
  return set_journal_mode(target, mode == "wal" ? "wal" : "delete");
}

Result<void> export_database(const std::string& mountpoint, const std::string& name, const std::string& file,
                             bool force, const TransferProgress& progress) {
  RILL_ASSIGN(std::string path, path_in_mount(mountpoint, name));
  if (!force && access(file.c_str(), F_OK) == 0)
    return invalid(file + " exists; give --force to replace it, or another name");
  if (access(path.c_str(), F_OK) != 0)
    return make_error(ErrorCode::kNotFound, "there is no database " + name + "; 'rillfs status' lists them");
  TemporaryCopy copy(file);
  if (auto copied = copy_out(path, copy.path(), progress); !copied)
    return copied.error().with("export " + name);
  RILL_TRY(sync_path(copy.path(), O_RDONLY));
  return copy.publish(file, force);
}

}  // namespace rillfs::cmd
