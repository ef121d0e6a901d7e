// A primary's databases without a mount: SQLite runs on a VFS that hands its file operations to the Database
// as the mount's tree would, so that captures, crashes and recoveries take milliseconds.
//
// The VFS lies over SQLite's own: the backing files are real, locks and the wal-index are SQLite's. Only
// writes, truncations, syncs and deletions of the database, the WAL and the journal go through Database.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include "fs/databases.h"
#include "fs/sqlite/journal.h"
#include "unit/fs/sqlite_support.h"

namespace rillfs::test {

/// One life of a primary on a data directory; destroying it without `close` is a kill -9.
class Primary {
 public:
  Primary(FileSystem& files, const std::string& data)
      : files_(files), environment_{files, clock_, random_, data} {
    environment_.log_options.segment_size_max = 64 << 10;
    databases_ = std::make_unique<Databases>(environment_, NodeView{});
  }
  Result<void> start() {
    RILL_TRY(databases_->recover());
    return databases_->adopt_found();
  }
  void close() { databases_->close(); }
  Databases& databases() { return *databases_; }
  Environment& environment() { return environment_; }
  FileSystem& files() { return files_; }
  std::string tree() const { return environment_.tree_directory(); }

  std::shared_ptr<Database> database(const std::string& name) { return databases_->find(kRootInode, name); }
  std::shared_ptr<Database> adopt(const std::string& name) {
    if (auto known = database(name)) return known;
    int fd = ::open(tree().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    auto adopted = databases_->adopt(kRootInode, fd, name, name);
    ::close(fd);
    return adopted;
  }

 private:
  FileSystem& files_;
  SystemClock clock_;
  SystemRandom random_;
  Environment environment_;
  std::unique_ptr<Databases> databases_;
};

/// The VFS. One at a time; connections opened with `uri` are captured by its primary.
class CapturingVfs {
 public:
  explicit CapturingVfs(Primary& primary) : primary_(primary) {
    below_ = sqlite3_vfs_find("unix");
    vfs_ = *below_;
    vfs_.zName = "captured";
    vfs_.pNext = nullptr;
    vfs_.szOsFile = static_cast<int>(sizeof(Handle)) + below_->szOsFile;
    vfs_.pAppData = this;
    vfs_.xOpen = &open;
    vfs_.xDelete = &remove;
    vfs_.xAccess = [](sqlite3_vfs* v, const char* n, int f, int* r) {
      return self(v)->below_->xAccess(self(v)->below_, n, f, r);
    };
    vfs_.xFullPathname = [](sqlite3_vfs* v, const char* n, int size, char* out) {
      return self(v)->below_->xFullPathname(self(v)->below_, n, size, out);
    };
    sqlite3_vfs_register(&vfs_, 0);
  }
  ~CapturingVfs() { sqlite3_vfs_unregister(&vfs_); }

  std::string uri(const std::string& name, const std::string& more = "") const {
    return "file:" + primary_.tree() + "/" + name + "?vfs=captured" + more;
  }
  /// Called after each captured operation: where a test may look around, or stop the world.
  std::function<void()> after;
  /// From now on every operation fails: the process is as good as dead.
  bool dead = false;
  bool power_safe_overwrite = true;
  /// WALs are passed through: the Database hears of syncs, truncations, closing and so on, not of writes.
  bool tail = false;
  /// Operations that are kept from the Database, as if a gate were missing.
  bool hide_wal_sync = false, hide_checkpoint = false, hide_wal_end = false, hide_flush = false;
  /// The process dies in its next write of a whole page to a WAL, of which so many bytes arrive. 0: it lives.
  std::size_t dies_after = 0;

 private:
  enum class Kind { kOther, kDatabase, kWal, kJournal };
  struct Handle {
    sqlite3_file base;
    CapturingVfs* vfs;
    Kind kind;
    std::shared_ptr<Database>* database;
    std::shared_ptr<File>* file;
    sqlite3_file* below() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };
  static CapturingVfs* self(sqlite3_vfs* vfs) { return static_cast<CapturingVfs*>(vfs->pAppData); }
  static Handle* handle(sqlite3_file* file) { return reinterpret_cast<Handle*>(file); }
  static std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

  int code(const Result<void>& result, int otherwise) {
    if (after) after();
    if (result) return SQLITE_OK;
    return result.error().code == ErrorCode::kNoSpace ? SQLITE_FULL : otherwise;
  }
  std::shared_ptr<Database> database_of(Handle* h, const char* path) {
    if (!h->database) h->database = new std::shared_ptr<Database>();
    std::string name = name_of(path);
    if (h->kind != Kind::kDatabase) name = std::string(sqlite::split_companion(name)->base);
    if (!*h->database) *h->database = primary_.adopt(name);
    return *h->database;
  }

  static int open(sqlite3_vfs* v, const char* path, sqlite3_file* file, int flags, int* out) {
    CapturingVfs* vfs = self(v);
    Handle* h = handle(file);
    h->base.pMethods = nullptr;
    h->vfs = vfs;
    h->database = nullptr;
    h->file = nullptr;
    h->kind = Kind::kOther;
    if (vfs->dead) return SQLITE_CANTOPEN;
    if (flags & SQLITE_OPEN_MAIN_DB) h->kind = Kind::kDatabase;
    if (flags & SQLITE_OPEN_WAL) h->kind = Kind::kWal;
    if (flags & SQLITE_OPEN_MAIN_JOURNAL) h->kind = Kind::kJournal;
    std::memset(h->below(), 0, static_cast<std::size_t>(vfs->below_->szOsFile));
    int rc = vfs->below_->xOpen(vfs->below_, path, h->below(), flags, out);
    if (rc != SQLITE_OK) return rc;
    if (h->kind == Kind::kWal || h->kind == Kind::kJournal) {
      auto opened = vfs->primary_.files().open(path, OpenMode::kReadWrite, "test");
      if (!opened) return SQLITE_CANTOPEN;
      h->file = new std::shared_ptr<File>(std::move(*opened));
      auto database = vfs->database_of(h, path);
      if (h->kind == Kind::kWal && vfs->tail) {
        if (!database->may_be_followed()) return SQLITE_CANTOPEN;
        database->begin_tail(*h->file);
      }
    } else if (h->kind == Kind::kDatabase) {
      h->file = new std::shared_ptr<File>();
      vfs->database_of(h, path);
    }
    h->base.pMethods = methods();
    return SQLITE_OK;
  }
  static int remove(sqlite3_vfs* v, const char* path, int sync) {
    CapturingVfs* vfs = self(v);
    if (vfs->dead) return SQLITE_IOERR_DELETE;
    const std::string name = name_of(path);  // the companion looks into it
    if (sqlite::is_super_journal_name(name)) {
      auto unlink = [&] { return vfs->primary_.files().remove(path, "test: unlink"); };
      return vfs->code(vfs->primary_.databases().commit_attached(name, unlink), SQLITE_IOERR_DELETE);
    }
    auto companion = sqlite::split_companion(name);
    auto database = companion ? vfs->primary_.database(std::string(companion->base)) : nullptr;
    if (!database || companion->kind == sqlite::Companion::kShm)
      return vfs->below_->xDelete(vfs->below_, path, sync);
    auto perform = [&]() -> Result<void> {
      if (::unlink(path) == 0) return {};
      return errno_error(errno, "unlink");
    };
    if (::access(path, F_OK) != 0) return SQLITE_IOERR_DELETE_NOENT;
    if (companion->kind == sqlite::Companion::kWal && vfs->hide_wal_end)
      return vfs->code(perform(), SQLITE_IOERR_DELETE);
    return vfs->code(companion->kind == sqlite::Companion::kWal ? database->remove_wal(perform)
                                                                : database->remove_journal(perform),
                     SQLITE_IOERR_DELETE);
  }
  static const sqlite3_io_methods* methods() {
    static const sqlite3_io_methods table = make_methods();
    return &table;
  }
  static Database* captured(Handle* h) { return h->kind == Kind::kOther ? nullptr : h->database->get(); }
  static sqlite3_io_methods make_methods();

  Primary& primary_;
  sqlite3_vfs* below_ = nullptr;
  sqlite3_vfs vfs_{};
};

inline sqlite3_io_methods CapturingVfs::make_methods() {
  sqlite3_io_methods m{};
  m.iVersion = 2;
  m.xClose = [](sqlite3_file* f) {
    Handle* h = handle(f);
    if (h->vfs->tail && !h->vfs->dead && !h->vfs->hide_flush && captured(h) && h->kind != Kind::kJournal) {
      EXPECT_TRUE(captured(h)->drain(Database::Look::kThorough));
    }
    int rc = h->below()->pMethods ? h->below()->pMethods->xClose(h->below()) : SQLITE_OK;
    delete h->database;
    delete h->file;
    return rc;
  };
  m.xRead = [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
    Handle* h = handle(f);
    Database* database = captured(h);
    if (h->kind != Kind::kDatabase || !database) return h->below()->pMethods->xRead(h->below(), to, n, at);
    auto got = database->read(MutableBytes(static_cast<std::uint8_t*>(to), static_cast<std::size_t>(n)),
                              static_cast<std::uint64_t>(at));
    if (!got) return SQLITE_IOERR_READ;
    if (*got == static_cast<std::size_t>(n)) return SQLITE_OK;
    std::memset(static_cast<char*>(to) + *got, 0, static_cast<std::size_t>(n) - *got);
    return SQLITE_IOERR_SHORT_READ;
  };
  m.xWrite = [](sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
    Handle* h = handle(f);
    if (h->vfs->dead) return SQLITE_IOERR_WRITE;
    Database* database = captured(h);
    const Bytes bytes(static_cast<const std::uint8_t*>(from), static_cast<std::size_t>(n));
    const auto offset = static_cast<std::uint64_t>(at);
    if (!database) return h->below()->pMethods->xWrite(h->below(), from, n, at);
    switch (h->kind) {
      case Kind::kWal: {
        h->vfs->dead = h->vfs->dies_after != 0 && bytes.size() > h->vfs->dies_after;
        const Bytes arrives = h->vfs->dead ? bytes.first(h->vfs->dies_after) : bytes;
        if (h->vfs->tail)
          return h->vfs->code((*h->file)->write_at(arrives, offset, "test: passed through"),
                              SQLITE_IOERR_WRITE);
        return h->vfs->code(database->write_wal(*h->file, arrives, offset, Caller::kApplication),
                            SQLITE_IOERR_WRITE);
      }
      case Kind::kJournal:
        return h->vfs->code(database->write_journal(*h->file, bytes, offset), SQLITE_IOERR_WRITE);
      default:
        if (h->vfs->hide_checkpoint) return h->below()->pMethods->xWrite(h->below(), from, n, at);
        return h->vfs->code(database->write(bytes, offset, Caller::kApplication), SQLITE_IOERR_WRITE);
    }
  };
  m.xTruncate = [](sqlite3_file* f, sqlite3_int64 size) {
    Handle* h = handle(f);
    if (h->vfs->dead) return SQLITE_IOERR_TRUNCATE;
    Database* database = captured(h);
    const auto bytes = static_cast<std::uint64_t>(size);
    if (!database) return h->below()->pMethods->xTruncate(h->below(), size);
    switch (h->kind) {
      case Kind::kWal:
        return h->vfs->code(database->resize_wal(*h->file, bytes, Caller::kApplication),
                            SQLITE_IOERR_TRUNCATE);
      case Kind::kJournal:
        return h->vfs->code(database->resize_journal(*h->file, bytes), SQLITE_IOERR_TRUNCATE);
      default:
        if (h->vfs->hide_checkpoint) return h->below()->pMethods->xTruncate(h->below(), size);
        return h->vfs->code(database->resize(bytes, Caller::kApplication), SQLITE_IOERR_TRUNCATE);
    }
  };
  m.xSync = [](sqlite3_file* f, int flags) {
    Handle* h = handle(f);
    if (h->vfs->dead) return SQLITE_IOERR_FSYNC;
    Database* database = captured(h);
    if (!database) return h->below()->pMethods->xSync(h->below(), flags);
    if (h->kind == Kind::kWal && h->vfs->hide_wal_sync) return SQLITE_OK;
    if (h->kind == Kind::kWal) return h->vfs->code(database->sync_wal(), SQLITE_IOERR_FSYNC);
    if (h->kind == Kind::kDatabase) return h->vfs->code(database->sync(), SQLITE_IOERR_FSYNC);
    database->sync_journal();
    return SQLITE_OK;
  };
  m.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) {
    Handle* h = handle(f);
    Database* database = captured(h);
    if (h->kind != Kind::kDatabase || !database) return h->below()->pMethods->xFileSize(h->below(), size);
    auto result = database->size();
    if (!result) return SQLITE_IOERR_FSTAT;
    *size = static_cast<sqlite3_int64>(*result);
    return SQLITE_OK;
  };
  m.xLock = [](sqlite3_file* f, int l) { return handle(f)->below()->pMethods->xLock(handle(f)->below(), l); };
  m.xUnlock = [](sqlite3_file* f, int l) {
    return handle(f)->below()->pMethods->xUnlock(handle(f)->below(), l);
  };
  m.xCheckReservedLock = [](sqlite3_file* f, int* r) {
    return handle(f)->below()->pMethods->xCheckReservedLock(handle(f)->below(), r);
  };
  m.xFileControl = [](sqlite3_file* f, int op, void* arg) {
    if (op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_CHUNK_SIZE) return SQLITE_OK;
    return handle(f)->below()->pMethods->xFileControl(handle(f)->below(), op, arg);
  };
  m.xSectorSize = [](sqlite3_file*) { return 4096; };
  m.xDeviceCharacteristics = [](sqlite3_file* f) {
    return handle(f)->vfs->power_safe_overwrite ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
  };
  m.xShmMap = [](sqlite3_file* f, int i, int size, int extend, void volatile** out) {
    return handle(f)->below()->pMethods->xShmMap(handle(f)->below(), i, size, extend, out);
  };
  m.xShmLock = [](sqlite3_file* f, int offset, int n, int flags) {
    return handle(f)->below()->pMethods->xShmLock(handle(f)->below(), offset, n, flags);
  };
  m.xShmBarrier = [](sqlite3_file* f) { handle(f)->below()->pMethods->xShmBarrier(handle(f)->below()); };
  m.xShmUnmap = [](sqlite3_file* f, int remove) {
    return handle(f)->below()->pMethods->xShmUnmap(handle(f)->below(), remove);
  };
  return m;
}

}  // namespace rillfs::test
