// A node's databases in the simulation: pages in memory, and on its disk a log (the real one) over a base.
//
// The same steps as the databases of a mount take, with no SQLite and no mount: a primary commits, a replica
// takes in change sets and snapshots, both come back from what their disk has.
//
// Threads: one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "replication/base/byte_stream.h"
#include "replication/base/clock.h"
#include "replication/base/random.h"
#include "replication/log/log.h"
#include "replication/ltx/header.h"
#include "replication/stream/databases.h"
#include "simulation/oracle.h"

namespace rillfs::simulation {

/// Rules that can be broken on purpose, to see that it is noticed.
struct Planted {
  bool never_shrinks = false;     ///< applying a change set does not cut the database
  bool never_parks = false;       ///< a branch that lost is thrown away
  bool forgets_the_last = false;  ///< recovery leaves out the log's last record
  bool lying_disk = false;        ///< the log is not synced
  bool blind_snapshot = false;    ///< a snapshot is not compared with what it should sum up to
};

/// Pages of one size, from page 1 on.
struct Image {
  std::uint32_t page_size = 0;  ///< bytes; 0: none yet
  std::vector<Buffer> pages;

  Checksum rolling() const;
  log::ContentHash hash() const;
  const Buffer* page(Pgno pgno) const {
    return pgno.value <= pages.size() ? &pages[pgno.value - 1] : nullptr;
  }
  void put(Pgno pgno, Bytes page);
  void resize(Pgno count);
};

/// What outlives a node's process, and is looked at in the end.
struct Kept {
  /// Per database the newest position that an application was told to be durable, since it was primary last.
  std::map<DatabaseId, Position> promised;
  std::vector<std::pair<DatabaseId, Position>> parked;
};

class Store final : public stream::Source, public stream::Sink {
 public:
  struct Tools {
    FileSystem& files;
    Clock& clock;
    Random& random;
    Oracle& oracle;
    Kept& kept;
    const Planted& planted;
  };
  Store(Tools tools, std::string name) : tools_(tools), name_(std::move(name)) {}

  /// Brings every database to its log's end. Throws a Violation where it is not what the oracle knows.
  Result<void> open();
  /// Every database is at a position that was made, with its content.
  void check() const;

  // --- as applications of a primary. kNoSpace: nothing has happened.
  Result<DatabaseId> create(const std::string& path);
  Result<void> commit(DatabaseId id, Epoch epoch, bool durably);
  Result<void> rename(DatabaseId id, const std::string& path);
  Result<void> drop_here(DatabaseId id);
  // --- as the background work of any node
  /// The log before the present position is not needed any more; some of it is removed.
  Result<void> advance_base(DatabaseId id);

  std::vector<DatabaseId> ids() const;
  Position position(DatabaseId id) const;
  const stream::DatabaseInfo& info(DatabaseId id) const { return databases_.at(id)->info; }

  // --- Source
  std::vector<stream::DatabaseState> list() override;
  bool was_dropped(DatabaseId id) override { return dropped_.contains(id); }
  std::optional<stream::DatabaseState> find(DatabaseId id) override;
  Result<std::unique_ptr<stream::ChangeSetCursor>> follow(DatabaseId id, const Position& after) override;
  Result<std::unique_ptr<stream::SnapshotCursor>> snapshot(DatabaseId id) override;
  Result<std::unique_ptr<stream::PageSource>> pages(DatabaseId id) override;
  void listen(std::function<void(DatabaseId)> changed) override { changed_ = std::move(changed); }

  // --- Sink
  Result<void> announce(const stream::DatabaseInfo& info) override;
  Result<void> drop(DatabaseId id, bool unknown) override;
  Result<void> begin_snapshot(const stream::DatabaseInfo& info, const Position& start,
                              std::uint32_t page_size, Pgno page_count, stream::History history) override;
  Result<void> begin_difference(const stream::DatabaseInfo& info, const Position& start,
                                std::uint32_t page_size, stream::History history) override;
  Result<std::vector<std::uint64_t>> page_sums(DatabaseId id, Pgno first, std::uint32_t count) override;
  Result<void> snapshot_page(DatabaseId id, Pgno pgno, Bytes page) override;
  Result<void> end_snapshot(DatabaseId id, const Position& end) override;
  Result<void> change_set(DatabaseId id, const stream::ChangeSetInfo& info, const Image& image) override;
  std::string spool_directory() const override { return kSpool; }
  void listen(std::function<void(const Progress&)> progressed) override {
    progressed_ = std::move(progressed);
  }

 private:
  using Pages = simulation::Image;
  static constexpr const char* kRoot = "/data/dbs";
  static constexpr const char* kSpool = "/data/spool";

  struct Database {
    stream::DatabaseInfo info;
    Pages pages;
    Position position;
    std::unique_ptr<log::Log> log;
    std::multiset<std::uint64_t> pins;  ///< transactions after which somebody reads
  };
  struct Receiver {
    stream::DatabaseInfo info;
    Position position;
    Pages pages;
    std::optional<Pages> old;  ///< by difference: what is compared
    std::uint32_t next_old = 1;
    std::optional<Position> end;
  };
  class LogCursor;
  class FuzzyPages;
  class CommittedPages;

  static std::string directory_of(DatabaseId id) { return std::string(kRoot) + "/" + to_hex(id.value); }
  log::LogOptions log_options() const;
  Result<void> open_one(DatabaseId id);
  Result<void> replay(Database& database, Position base);
  Result<void> save_info(const stream::DatabaseInfo& info);
  Result<void> save_base(DatabaseId id, const Pages& pages, const Position& position);
  Result<std::pair<Pages, Position>> load_base(DatabaseId id);
  Result<void> load_dropped();
  Result<void> note_dropped(DatabaseId id);
  Result<void> remove(DatabaseId id);
  /// What a transaction may do: the numbers of the pages that it writes.
  std::set<Pgno> change_at_random(Pages& pages) const;
  /// The transaction that makes `next` of the database, as a change set.
  Buffer encode(const Database& database, const Pages& next, const std::set<Pgno>& changed, Epoch epoch,
                log::NewRecord& record) const;
  /// Takes a change set apart and onto `pages`; verified as far as LTX goes.
  Result<ltx::Header> apply(Bytes image, Pages& pages) const;
  Result<Buffer> read_image(const Image& image) const;
  Result<void> stumble() const;
  void park_what_is_beyond(const Database& database, const Position& start, stream::History history);
  Result<void> finish_snapshot(DatabaseId id);
  Result<void> install(Receiver receiver);
  Result<void> replace(Database& database, Receiver receiver);
  void report(DatabaseId id, const Position& position);
  Database* find_database(DatabaseId id);

  Tools tools_;
  const std::string name_;
  std::map<DatabaseId, std::shared_ptr<Database>> databases_;
  std::map<DatabaseId, Receiver> receiving_;
  std::set<DatabaseId> dropped_;
  std::function<void(DatabaseId)> changed_;
  std::function<void(const Progress&)> progressed_;
};

}  // namespace rillfs::simulation
