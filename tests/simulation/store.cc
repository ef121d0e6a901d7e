#include "simulation/store.h"

#include <algorithm>

#include "replication/log/compacting_reader.h"
#include "replication/log/reader.h"
#include "replication/ltx/checksum.h"
#include "replication/ltx/decoder.h"
#include "replication/ltx/encoder.h"

namespace rillfs::simulation {
namespace {

constexpr Label kStore = "simulation: store";
constexpr std::size_t kFileMax = std::size_t{16} << 20;

template <class Int>
void append(Buffer& to, Int value) {
  std::uint8_t bytes[sizeof value];
  store_be(bytes, value);
  append_bytes(to, bytes);
}

log::NewRecord record_of(const ltx::Header& header, Epoch epoch, Checksum pre, Checksum post,
                         const log::ContentHash& hash) {
  return {.epoch = epoch,
          .min_txid = header.min_txid,
          .max_txid = header.max_txid,
          .pre = pre,
          .post = post,
          .hash = hash,
          .commit = header.commit,
          .page_size = header.page_size,
          .timestamp_ms = header.timestamp_ms};
}

Error gone(DatabaseId id) { return make_error(ErrorCode::kNotFound, "no database " + to_hex(id.value)); }

}  // namespace

// --- pages
// ----------------------------------------------------------------------------------------------------

Checksum Image::rolling() const {
  Checksum sum = Checksum::empty();
  for (std::size_t i = 0; i < pages.size(); ++i)
    sum = sum.toggled(ltx::page_checksum(Pgno{static_cast<std::uint32_t>(i + 1)}, pages[i]));
  return sum;
}

log::ContentHash Image::hash() const {
  log::ContentHash hash;
  for (std::size_t i = 0; i < pages.size(); ++i) hash.add(Pgno{static_cast<std::uint32_t>(i + 1)}, pages[i]);
  return hash;
}

void Image::put(Pgno pgno, Bytes page) {
  if (pages.size() < pgno.value) pages.resize(pgno.value, Buffer(page_size));
  pages[pgno.value - 1].assign(page.begin(), page.end());
}

void Image::resize(Pgno count) { pages.resize(count.value, Buffer(page_size)); }

Result<ltx::Header> Store::apply(Bytes image, Pages& pages) const {
  BufferSource source(image);
  ltx::Decoder decoder(source);
  RILL_ASSIGN(const ltx::Header header, decoder.begin());
  Pages next = pages;
  if (next.page_size != header.page_size) next = {header.page_size, {}};
  for (;;) {
    RILL_ASSIGN(auto page, decoder.next());
    if (!page) break;
    next.put(page->pgno, page->data);
  }
  RILL_TRY(decoder.finish());
  if (header.commit.value > next.pages.size() || !tools_.planted.never_shrinks) next.resize(header.commit);
  pages = std::move(next);
  return header;
}

Buffer Store::encode(const Database& database, const Pages& next, const std::set<Pgno>& changed, Epoch epoch,
                     log::NewRecord& record) const {
  ltx::Header header;
  header.page_size = next.page_size;
  header.commit = Pgno{static_cast<std::uint32_t>(next.pages.size())};
  header.min_txid = header.max_txid = database.position.txid.next();
  header.timestamp_ms = tools_.clock.wall_ms();
  if (!header.is_snapshot()) header.pre_apply = database.position.checksum;
  record = record_of(header, epoch, database.position.checksum, next.rolling(), next.hash());
  Buffer image;
  BufferSink sink(image);
  ltx::Encoder encoder(sink);
  encoder.begin(header).value();
  for (const Pgno pgno : changed) encoder.page(pgno, *next.page(pgno)).value();
  encoder.finish(record.post).value();
  return image;
}

// --- what the disk has
// ----------------------------------------------------------------------------------------------------

log::LogOptions Store::log_options() const {
  return {.segment_size_max = 8 << 10,
          .retain_bytes = 24 << 10,
          .retain_time_ms = 20'000,
          .zeroes_ahead = 4 << 10};
}

Result<void> Store::open() {
  FileSystem& files = tools_.files;
  RILL_TRY(files.make_directories(kRoot, kStore));
  RILL_TRY(files.make_directories(kSpool, kStore));
  RILL_ASSIGN(auto spooled, files.list(kSpool, kStore));
  for (const DirectoryEntry& entry : spooled)
    RILL_TRY(files.remove(std::string(kSpool) + "/" + entry.name, kStore));
  RILL_TRY(load_dropped());
  RILL_ASSIGN(auto entries, files.list(kRoot, kStore));
  for (const DirectoryEntry& entry : entries) {
    if (auto id = from_hex(entry.name)) RILL_TRY(open_one(DatabaseId{*id}));
  }
  return {};
}

Result<void> Store::open_one(DatabaseId id) {
  FileSystem& files = tools_.files;
  RILL_ASSIGN(const bool based, files.exists(directory_of(id) + "/base", kStore));
  // Died while it was made, or dropped: it is not there.
  if (!based || dropped_.contains(id)) return remove_tree(files, directory_of(id), kStore);
  auto database = std::make_shared<Database>();
  RILL_ASSIGN(const Buffer path, read_file(files, directory_of(id) + "/info", kFileMax, kStore));
  database->info = {id, std::string(path.begin(), path.end()), 0644, 0, 0};
  RILL_ASSIGN(auto base, load_base(id));
  database->pages = std::move(base.first);
  database->position = base.second;
  const log::LogState start{base.second, database->pages.hash(), 0, 0};
  RILL_ASSIGN(auto opened, log::Log::open(files, tools_.clock, directory_of(id) + "/log", id, start,
                                          log_options(), base.second.txid));
  database->log = std::move(opened.log);
  RILL_TRY(replay(*database, base.second));
  tools_.oracle.check(name_ + " after recovery", id, database->position, database->pages.hash());
  databases_[id] = std::move(database);
  return {};
}

Result<void> Store::replay(Database& database, Position base) {
  const log::LogState end = database.log->end();
  RILL_ASSIGN(auto reader, log::open_reader(tools_.files, database.log->directory(), database.info.id, base));
  for (;;) {
    RILL_ASSIGN(auto record, reader.next(end.position.txid));
    if (!record) break;
    if (tools_.planted.forgets_the_last && record->max_txid == end.position.txid) break;
    Buffer image(record->image_size);
    for (std::size_t got = 0; got < image.size();) {
      RILL_ASSIGN(const std::size_t n, reader.read(MutableBytes(image).subspan(got)));
      got += n;
    }
    if (record->is_snapshot()) database.pages = {};
    RILL_TRY(apply(image, database.pages));
  }
  database.position = end.position;
  if (database.pages.hash() != end.hash)
    throw Violation(name_ + ": the replayed log of " + to_hex(database.info.id.value) +
                    " does not lead to its end");
  return {};
}

Result<void> Store::save_info(const stream::DatabaseInfo& info) {
  const Bytes path{reinterpret_cast<const std::uint8_t*>(info.path.data()), info.path.size()};
  return replace_file(tools_.files, directory_of(info.id) + "/info", path, kStore);
}

Result<void> Store::save_base(DatabaseId id, const Pages& pages, const Position& position) {
  Buffer bytes;
  append(bytes, position.epoch.value);
  append(bytes, position.txid.value);
  append(bytes, position.checksum.value);
  append(bytes, pages.page_size);
  for (const Buffer& page : pages.pages) append_bytes(bytes, page);
  return replace_file(tools_.files, directory_of(id) + "/base", bytes, kStore);
}

Result<std::pair<Image, Position>> Store::load_base(DatabaseId id) {
  RILL_ASSIGN(const Buffer bytes, read_file(tools_.files, directory_of(id) + "/base", kFileMax, kStore));
  const std::uint8_t* at = bytes.data();
  const Position position{Epoch{load_be<std::uint64_t>(at)}, Txid{load_be<std::uint64_t>(at + 8)},
                          Checksum{load_be<std::uint64_t>(at + 16)}};
  Pages pages{load_be<std::uint32_t>(at + 24), {}};
  for (Bytes rest = Bytes(bytes).subspan(28); !rest.empty(); rest = rest.subspan(pages.page_size))
    pages.pages.emplace_back(rest.begin(), rest.begin() + pages.page_size);
  return std::pair{std::move(pages), position};
}

Result<void> Store::load_dropped() {
  RILL_ASSIGN(const bool there, tools_.files.exists("/data/dropped", kStore));
  if (!there) return {};
  RILL_ASSIGN(const Buffer bytes, read_file(tools_.files, "/data/dropped", kFileMax, kStore));
  for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8)
    dropped_.insert(DatabaseId{load_be<std::uint64_t>(bytes.data() + i)});
  return {};
}

Result<void> Store::note_dropped(DatabaseId id) {
  dropped_.insert(id);
  Buffer bytes;
  for (const DatabaseId dropped : dropped_) append(bytes, dropped.value);
  return replace_file(tools_.files, "/data/dropped", bytes, kStore);
}

Result<void> Store::remove(DatabaseId id) {
  databases_.erase(id);
  receiving_.erase(id);
  // One step takes it out of recovery's sight; the rest may be interrupted.
  RILL_TRY(remove_if_there(tools_.files, directory_of(id) + "/base", kStore));
  RILL_TRY(tools_.files.sync_directory(directory_of(id), kStore));
  return remove_tree(tools_.files, directory_of(id), kStore);
}

void Store::check() const {
  for (const auto& [id, database] : databases_) {
    if (database->pages.rolling() != database->position.checksum)
      throw Violation(name_ + ": " + to_hex(id.value) + " does not sum up to " + to_text(database->position));
    tools_.oracle.check(name_, id, database->position, database->pages.hash());
  }
}

// --- a primary's applications
// ----------------------------------------------------------------------------------------------------

Result<DatabaseId> Store::create(const std::string& path) {
  const DatabaseId id{tools_.random.next_id()};
  auto database = std::make_shared<Database>();
  database->info = {id, path, 0644, 0, 0};
  RILL_TRY(tools_.files.make_directories(directory_of(id), kStore));
  RILL_TRY(save_info(database->info));
  RILL_TRY(save_base(id, {}, {}));
  RILL_ASSIGN(auto opened, log::Log::open(tools_.files, tools_.clock, directory_of(id) + "/log", id, {},
                                          log_options(), Txid{}));
  database->log = std::move(opened.log);
  databases_[id] = std::move(database);
  return id;
}

std::set<Pgno> Store::change_at_random(Pages& pages) const {
  Random& random = tools_.random;
  auto dice = [&](std::uint32_t sides) { return static_cast<std::uint32_t>(random.next() % sides); };
  if (pages.page_size == 0 || dice(200) == 0) pages = {512U << dice(3), {}};  // VACUUM
  const auto count = static_cast<std::uint32_t>(pages.pages.size());
  std::uint32_t size = count == 0 ? 1 + dice(8) : count;
  if (dice(4) == 0) size += dice(6);
  if (dice(16) == 0) size = 1 + dice(size);
  std::set<Pgno> changed;
  for (std::uint32_t pgno = count + 1; pgno <= size; ++pgno) changed.insert(Pgno{pgno});
  for (std::uint32_t n = 1 + dice(4); n > 0; --n) changed.insert(Pgno{1 + dice(size)});
  pages.resize(Pgno{size});
  for (const Pgno pgno : changed) {
    Buffer page(pages.page_size, static_cast<std::uint8_t>(random.next()));
    if (dice(2) == 0) std::ranges::generate(page, [&] { return static_cast<std::uint8_t>(random.next()); });
    store_be(page.data(), random.next());  // never the same twice
    pages.put(pgno, page);
  }
  return changed;
}

Result<void> Store::commit(DatabaseId id, Epoch epoch, bool durably) {
  Database& database = *databases_.at(id);
  Pages next = database.pages;
  const std::set<Pgno> changed = change_at_random(next);
  log::NewRecord record;
  const Buffer image = encode(database, next, changed, epoch, record);
  RILL_TRY(database.log->append(record, image));
  if (durably) RILL_TRY(database.log->sync());
  const Position before = database.position;
  database.position = {epoch, record.max_txid, record.post};
  database.pages = std::move(next);
  tools_.oracle.made(id, before, database.position, record.hash);
  if (durably) tools_.kept.promised[id] = database.position;
  if (changed_) changed_(id);
  return {};
}

Result<void> Store::rename(DatabaseId id, const std::string& path) {
  Database& database = *databases_.at(id);
  stream::DatabaseInfo info = database.info;
  info.path = path;
  RILL_TRY(save_info(info));
  database.info = info;
  if (changed_) changed_(id);
  return {};
}

Result<void> Store::drop_here(DatabaseId id) {
  RILL_TRY(note_dropped(id));
  tools_.oracle.dropped(id);
  RILL_TRY(remove(id));
  if (changed_) changed_(id);
  return {};
}

Result<void> Store::advance_base(DatabaseId id) {
  Database& database = *databases_.at(id);
  RILL_TRY(database.log->sync());  // a base must not be ahead of its log
  RILL_TRY(save_base(id, database.pages, database.position));
  std::vector<log::Pin> pins;
  for (const std::uint64_t after : database.pins) pins.push_back({Txid{after}, 8 << 10});
  return database.log->retain(database.position.txid, pins);
}

std::vector<DatabaseId> Store::ids() const {
  std::vector<DatabaseId> ids;
  for (const auto& [id, database] : databases_) ids.push_back(id);
  return ids;
}

Position Store::position(DatabaseId id) const {
  auto found = databases_.find(id);
  return found == databases_.end() ? Position{} : found->second->position;
}

Store::Database* Store::find_database(DatabaseId id) {
  auto found = databases_.find(id);
  return found == databases_.end() ? nullptr : found->second.get();
}

// --- what a publisher reads
// ----------------------------------------------------------------------------------------------------

class Store::LogCursor final : public stream::ChangeSetCursor {
 public:
  LogCursor(std::shared_ptr<Database> database, log::LogReader reader, Txid after)
      : database_(std::move(database)),
        pin_(database_->pins.insert(after.value)),
        reader_(std::move(reader)) {}
  ~LogCursor() override { database_->pins.erase(pin_); }

  Result<std::optional<stream::ChangeSetInfo>> next() override {
    RILL_ASSIGN(auto record, reader_.next(database_->position.txid));
    if (!record) return std::optional<stream::ChangeSetInfo>();
    const log::RecordInfo& info = record->info;
    database_->pins.erase(pin_);
    pin_ = database_->pins.insert(info.max_txid.value);
    return std::optional<stream::ChangeSetInfo>(
        stream::ChangeSetInfo{info.pre_position(), info.post_position(), info.image_size, record->oldest_ms,
                              info.log_offset, record->log_size});
  }
  Result<std::size_t> read(MutableBytes into) override { return reader_.read(into); }

 private:
  const std::shared_ptr<Database> database_;
  std::multiset<std::uint64_t>::iterator pin_;
  log::CompactingReader reader_;
};

class Store::FuzzyPages final : public stream::SnapshotCursor {
 public:
  explicit FuzzyPages(std::shared_ptr<Database> database)
      : database_(std::move(database)),
        start_(database_->position),
        page_size_(database_->pages.page_size),
        count_(static_cast<std::uint32_t>(database_->pages.pages.size())),
        pin_(database_->pins.insert(start_.txid.value)) {}
  ~FuzzyPages() override { database_->pins.erase(pin_); }
  Position start() const override { return start_; }
  std::uint32_t page_size() const override { return page_size_; }
  Pgno page_count() const override { return Pgno{count_}; }
  Position end() const override { return end_; }
  Result<std::optional<Page>> next() override {
    const Buffer* page = database_->pages.page_size == page_size_ ? database_->pages.page(next_) : nullptr;
    if (!page) {
      end_ = database_->position;
      return std::optional<Page>();
    }
    page_ = *page;
    const Pgno pgno = next_;
    next_ = next_.next();
    return std::optional<Page>(Page{pgno, page_});
  }

 private:
  const std::shared_ptr<Database> database_;
  const Position start_;
  const std::uint32_t page_size_;
  const std::uint32_t count_;
  const std::multiset<std::uint64_t>::iterator pin_;
  Position end_;
  Pgno next_{1};
  Buffer page_;
};

class Store::CommittedPages final : public stream::PageSource {
 public:
  explicit CommittedPages(std::shared_ptr<Database> database)
      : database_(std::move(database)),
        start_(database_->position),
        pin_(database_->pins.insert(start_.txid.value)) {}
  ~CommittedPages() override { database_->pins.erase(pin_); }
  Position start() const override { return start_; }
  Position position() const override { return database_->position; }
  std::uint32_t page_size() const override { return database_->pages.page_size; }
  Pgno page_count() const override { return Pgno{static_cast<std::uint32_t>(database_->pages.pages.size())}; }
  std::vector<std::uint64_t> sums(Pgno first, std::uint32_t count) const override {
    std::vector<std::uint64_t> sums(count, 0);
    for (std::uint32_t i = 0; i < count; ++i) {
      const Pgno pgno{first.value + i};
      if (const Buffer* page = database_->pages.page(pgno)) sums[i] = ltx::page_checksum(pgno, *page).value;
    }
    return sums;
  }
  Result<std::optional<Bytes>> read(Pgno pgno) override {
    const Buffer* page = database_->pages.page(pgno);
    if (!page) return std::optional<Bytes>();
    page_ = *page;
    return std::optional<Bytes>(page_);
  }

 private:
  const std::shared_ptr<Database> database_;
  const Position start_;
  const std::multiset<std::uint64_t>::iterator pin_;
  Buffer page_;
};

std::vector<stream::DatabaseState> Store::list() {
  std::vector<stream::DatabaseState> states;
  for (const auto& [id, database] : databases_)
    if (database->position.txid.value != 0)
      states.push_back({database->info, database->position, database->log->end().log_offset});
  return states;
}

std::optional<stream::DatabaseState> Store::find(DatabaseId id) {
  const Database* database = find_database(id);
  if (!database || database->position.txid.value == 0) return std::nullopt;
  return stream::DatabaseState{database->info, database->position, database->log->end().log_offset};
}

Result<std::unique_ptr<stream::ChangeSetCursor>> Store::follow(DatabaseId id, const Position& after) {
  if (!find_database(id)) return gone(id);
  RILL_ASSIGN(auto reader, log::LogReader::open(tools_.files, directory_of(id) + "/log", id, after));
  return std::unique_ptr<stream::ChangeSetCursor>(
      new LogCursor(databases_.at(id), std::move(reader), after.txid));
}

Result<std::unique_ptr<stream::SnapshotCursor>> Store::snapshot(DatabaseId id) {
  if (!find_database(id)) return gone(id);
  return std::unique_ptr<stream::SnapshotCursor>(new FuzzyPages(databases_.at(id)));
}

Result<std::unique_ptr<stream::PageSource>> Store::pages(DatabaseId id) {
  if (!find_database(id)) return gone(id);
  return std::unique_ptr<stream::PageSource>(new CommittedPages(databases_.at(id)));
}

// --- what a subscriber brings
// ----------------------------------------------------------------------------------------------------

Result<void> Store::announce(const stream::DatabaseInfo& info) {
  Database* database = find_database(info.id);
  if (!database || database->info.path == info.path) return {};
  RILL_TRY(save_info(info));
  database->info = info;
  return {};
}

Result<void> Store::drop(DatabaseId id, bool unknown) {
  const Database* database = find_database(id);
  if (database && unknown) tools_.kept.parked.emplace_back(id, database->position);
  return remove(id);
}

// As Databases::park_what_is_beyond.
void Store::park_what_is_beyond(const Database& database, const Position& start, stream::History history) {
  const Position& here = database.position;
  if (here.same_place(start) || tools_.planted.never_parks) return;
  const bool lost = here.txid >= start.txid || history == stream::History::kAnother;
  const bool may_be_lost = history == stream::History::kUnknown && here.epoch != start.epoch;
  if (lost || may_be_lost) tools_.kept.parked.emplace_back(database.info.id, here);
}

/// What is to be parked cannot be read, or written, just then.
Result<void> Store::stumble() const {
  if (tools_.random.next() % 32 != 0) return {};
  return make_error(ErrorCode::kIo, "cannot park");
}

Result<void> Store::begin_snapshot(const stream::DatabaseInfo& info, const Position& start,
                                   std::uint32_t page_size, Pgno, stream::History history) {
  RILL_TRY(stumble());
  if (const Database* database = find_database(info.id)) park_what_is_beyond(*database, start, history);
  receiving_[info.id] = {.info = info, .position = start, .pages = {page_size, {}}};
  return {};
}

Result<void> Store::begin_difference(const stream::DatabaseInfo& info, const Position& start,
                                     std::uint32_t page_size, stream::History history) {
  const Database* database = find_database(info.id);
  if (!database || database->pages.page_size != page_size)
    return make_error(ErrorCode::kUnsupported, "nothing here has pages of this size");
  RILL_TRY(stumble());
  park_what_is_beyond(*database, start, history);
  receiving_[info.id] = {.info = info, .position = start, .pages = {page_size, {}}, .old = database->pages};
  return {};
}

Result<std::vector<std::uint64_t>> Store::page_sums(DatabaseId id, Pgno first, std::uint32_t count) {
  auto found = receiving_.find(id);
  if (found == receiving_.end() || !found->second.old) return gone(id);
  Receiver& receiver = found->second;
  if (first.value > receiver.next_old) return make_error(ErrorCode::kInvalid, "sums are out of turn");
  for (; receiver.next_old < first.value + count; ++receiver.next_old)
    if (const Buffer* page = receiver.old->page(Pgno{receiver.next_old}))
      receiver.pages.put(Pgno{receiver.next_old}, *page);
  std::vector<std::uint64_t> sums(count, 0);
  for (std::uint32_t i = 0; i < count; ++i) {
    const Pgno pgno{first.value + i};
    if (const Buffer* page = receiver.pages.page(pgno)) sums[i] = ltx::page_checksum(pgno, *page).value;
  }
  return sums;
}

Result<void> Store::snapshot_page(DatabaseId id, Pgno pgno, Bytes page) {
  auto found = receiving_.find(id);
  if (found == receiving_.end() || page.size() != found->second.pages.page_size)
    return make_error(ErrorCode::kInvalid, "no snapshot that has such a page");
  found->second.pages.put(pgno, page);
  return {};
}

Result<void> Store::end_snapshot(DatabaseId id, const Position& end) {
  auto found = receiving_.find(id);
  if (found == receiving_.end()) return make_error(ErrorCode::kInvalid, "end of a snapshot without one");
  found->second.end = end;
  return finish_snapshot(id);
}

Result<Buffer> Store::read_image(const Image& image) const {
  if (image.file_path.empty()) return Buffer(image.bytes.begin(), image.bytes.end());
  return read_file(tools_.files, image.file_path, kFileMax, kStore);
}

Result<void> Store::change_set(DatabaseId id, const stream::ChangeSetInfo& info, const Image& image) {
  RILL_ASSIGN(const Buffer bytes, read_image(image));
  if (auto found = receiving_.find(id); found != receiving_.end()) {
    Receiver& receiver = found->second;
    if (!info.pre.same_place(receiver.position))
      return make_error(ErrorCode::kPositionMismatch, "does not follow the snapshot");
    RILL_TRY(apply(bytes, receiver.pages));
    receiver.position = info.post;
    return finish_snapshot(id);
  }
  Database* database = find_database(id);
  if (!database) return make_error(ErrorCode::kPositionMismatch, "is not here");
  const Position here = database->position;
  if (!info.pre.same_place(here) || info.post.epoch < here.epoch)
    return make_error(ErrorCode::kPositionMismatch, "does not follow " + to_text(here));
  Pages next = database->pages;
  RILL_ASSIGN(const ltx::Header header, apply(bytes, next));
  const Checksum sum = tools_.planted.never_shrinks ? info.post.checksum : next.rolling();
  if (sum != info.post.checksum) return make_error(ErrorCode::kCorrupt, "does not sum up");
  RILL_TRY(database->log->append(
      record_of(header, info.post.epoch, here.checksum, info.post.checksum, next.hash()), bytes));
  database->pages = std::move(next);
  database->position = info.post;
  report(id, info.post);
  return {};
}

Result<void> Store::finish_snapshot(DatabaseId id) {
  Receiver& receiver = receiving_.at(id);
  if (!receiver.end || receiver.position.txid < receiver.end->txid) return {};
  Receiver complete = std::move(receiver);
  receiving_.erase(id);
  if (complete.pages.rolling() != complete.position.checksum && !tools_.planted.blind_snapshot)
    return make_error(ErrorCode::kCorrupt, "the snapshot does not sum up to " + to_text(complete.position));
  const Position position = complete.position;
  if (Database* database = find_database(id)) {
    RILL_TRY(replace(*database, std::move(complete)));
  } else {
    RILL_TRY(install(std::move(complete)));
  }
  report(id, position);
  return {};
}

Result<void> Store::install(Receiver receiver) {
  const DatabaseId id = receiver.info.id;
  auto database = std::make_shared<Database>();
  database->info = receiver.info;
  database->pages = std::move(receiver.pages);
  database->position = receiver.position;
  RILL_TRY(tools_.files.make_directories(directory_of(id), kStore));
  RILL_TRY(save_info(receiver.info));
  RILL_TRY(save_base(id, database->pages, database->position));
  const log::LogState start{database->position, database->pages.hash(), 0, 0};
  RILL_ASSIGN(auto opened, log::Log::open(tools_.files, tools_.clock, directory_of(id) + "/log", id, start,
                                          log_options(), database->position.txid));
  database->log = std::move(opened.log);
  databases_[id] = std::move(database);
  return {};
}

Result<void> Store::replace(Database& database, Receiver receiver) {
  const Pages& pages = receiver.pages;
  ltx::Header header;
  header.page_size = pages.page_size;
  header.commit = Pgno{static_cast<std::uint32_t>(pages.pages.size())};
  header.min_txid = Txid{1};
  header.max_txid = receiver.position.txid;
  header.timestamp_ms = tools_.clock.wall_ms();
  log::NewRecord record =
      record_of(header, receiver.position.epoch, Checksum::empty(), receiver.position.checksum, pages.hash());
  record.flags = log::kSnapshot;
  RILL_ASSIGN(auto appender, database.log->reset(record));
  ltx::Encoder encoder(appender);
  RILL_TRY(encoder.begin(header));
  for (std::size_t i = 0; i < pages.pages.size(); ++i)
    RILL_TRY(encoder.page(Pgno{static_cast<std::uint32_t>(i + 1)}, pages.pages[i]));
  RILL_TRY(encoder.finish(receiver.position.checksum));
  RILL_TRY(appender.commit());
  database.pages = std::move(receiver.pages);
  database.position = receiver.position;
  return {};
}

void Store::report(DatabaseId id, const Position& position) {
  if (progressed_) progressed_({id, position, position});
}

}  // namespace rillfs::simulation
