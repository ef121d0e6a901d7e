// Writes what the fuzzers start from: `fuzz_seeds DIRECTORY` makes DIRECTORY/<target>/<name>, with the real
// encoders and real SQLite. run.sh calls it; what proves useful is kept in corpus/.
#include <sqlite3.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fs/database_info.h"
#include "fs/rename_record.h"
#include "fs/replay_base.h"
#include "replication/log/log.h"
#include "replication/ltx/encoder.h"
#include "replication/stream/convert.h"
#include "replication/stream/page_batch.h"
#include "replication/wire/frame.h"
#include "support/complete_ltx.h"
#include "support/memory_file_system.h"

namespace rillfs::fuzz {
namespace {

namespace fs = std::filesystem;

fs::path root;

void seed(const std::string& target, const std::string& name, Bytes bytes) {
  fs::create_directories(root / target);
  std::ofstream(root / target / name, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}
void seed(const std::string& target, const std::string& name, std::initializer_list<std::uint8_t> head,
          Bytes rest) {
  Buffer all(head);
  append_bytes(all, rest);
  seed(target, name, all);
}
Bytes as_bytes(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
Buffer read_all(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return Buffer(std::istreambuf_iterator<char>(in), {});
}
void run(sqlite3* db, const char* sql) {
  if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return;
  std::fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
  std::exit(1);
}

// LTX

Buffer page(int fill) { return Buffer(512, static_cast<std::uint8_t>(fill)); }

Buffer ltx_file(Txid min, Checksum pre, int fill, std::uint32_t flags = 0) {
  Buffer file;
  BufferSink sink(file);
  ltx::Encoder encoder(sink);
  ltx::Header header{.flags = flags, .page_size = 512, .commit = Pgno{2}, .min_txid = min, .max_txid = min};
  header.timestamp_ms = 1000;
  if (!header.is_snapshot() && flags == 0) header.pre_apply = pre;
  Checksum post = Checksum::empty();
  encoder.begin(header).value();
  for (std::uint32_t n : {1u, 2u}) {
    encoder.page(Pgno{n}, page(fill + static_cast<int>(n))).value();
    post = post.toggled(ltx::page_checksum(Pgno{n}, page(fill + static_cast<int>(n))));
  }
  encoder.finish(flags == 0 ? post : Checksum{}).value();
  return file;
}

/// Header and pages of an older format; the target completes them.
Buffer old_ltx(ltx::Format format) {
  ltx::Header header{.page_size = 512, .commit = Pgno{2}, .min_txid = Txid{1}, .max_txid = Txid{1}};
  if (format == ltx::Format::kV1Frame) header.flags = ltx::kFlagWholeFrame;
  Buffer file;
  append_bytes(file, ltx::encode(header));
  for (std::uint8_t n : {1, 2}) {
    append_bytes(file, Buffer{0, 0, 0, n});
    if (format == ltx::Format::kV3Frame) append_bytes(file, Buffer(2));
    Buffer content = page('a' + n);
    if (format == ltx::Format::kV2 || format == ltx::Format::kV3Frame) {
      Buffer frame(LZ4F_compressFrameBound(content.size(), nullptr));
      frame.resize(LZ4F_compressFrame(frame.data(), frame.size(), content.data(), content.size(), nullptr));
      content = frame;
    }
    append_bytes(file, content);
  }
  return complete_ltx(file, format);
}

void ltx_seeds() {
  seed("ltx", "snapshot", {7}, ltx_file(Txid{1}, {}, '0'));
  seed("ltx", "change", {15}, ltx_file(Txid{5}, Checksum{Checksum::kFlag | 5}, 'a'));
  seed("ltx", "no-checksums", {4}, ltx_file(Txid{5}, {}, 'a', ltx::kFlagNoChecksum));
  for (int format = 0; format < 5; ++format) {
    const Buffer file = old_ltx(static_cast<ltx::Format>(format == 4 ? 1 : format));
    const auto mode = static_cast<std::uint8_t>(format);
    seed("ltx", "old-" + std::to_string(format), {mode}, file);
    seed("ltx", "old-" + std::to_string(format) + "-completed", {static_cast<std::uint8_t>(mode | 8)}, file);
    seed("ltx", "old-" + std::to_string(format) + "-found", {7}, file);
  }
}

// Log

struct StoppedClock final : Clock {
  Monotonic monotonic() const override { return {}; }
  std::int64_t wall_ms() const override { return 0; }
};

void log_seeds() {
  MemoryFileSystem files;
  StoppedClock clock;
  log::LogOptions options{.segment_size_max = 700};
  auto opened = log::Log::open(files, clock, "log", DatabaseId{0x1234}, {}, options, {});
  Checksum pre = Checksum::empty();
  for (std::uint64_t txid = 1; txid <= 4; ++txid) {
    const Buffer image = ltx_file(Txid{txid}, pre, static_cast<int>(txid));
    log::NewRecord record{.epoch = Epoch{1}, .min_txid = Txid{txid}, .max_txid = Txid{txid}, .pre = pre};
    record.post = ltx::parse_trailer(Bytes(image).last(16)).post_apply;
    record.commit = Pgno{2};
    record.page_size = 512;
    record.timestamp_ms = 1000;
    opened->log->append(record, image).value();
    pre = record.post;
    if (txid % 2) opened->log->sync().value();
  }
  const auto all = files.contents();
  const Buffer& first = all.begin()->second;
  const Buffer& second = all.rbegin()->second;
  for (std::uint8_t mode : {0, 1, 3, 7, 8}) {
    Buffer input{mode,
                 0,
                 3,
                 0,
                 1,
                 static_cast<std::uint8_t>(first.size() >> 8),
                 static_cast<std::uint8_t>(first.size())};
    append_bytes(input, first);
    seed("log", "one-" + std::to_string(mode), input);
    append_bytes(input, second);
    seed("log", "two-" + std::to_string(mode), input);
  }
}

// JSON of the data directory

void json_seeds() {
  MemoryFileSystem files;
  const std::vector<std::uint64_t> sums = {Checksum::kFlag | 1, Checksum::kFlag | 2};
  Position at{Epoch{1}, Txid{3}, Checksum::empty()};
  for (std::uint64_t sum : sums) at.checksum = at.checksum.toggled(Checksum{sum});
  save_base(files, "db", Position{Epoch{1}, Txid{2}, Checksum::empty()}, Content(at, 512, sums)).value();
  save_database_info(files, "info", {DatabaseId{1}, "tenants/a.db", 0640, 1, 2}).value();
  save_rename_record(files, "dbs", {"a.db", "b/c.db", 12, 1, {DatabaseId{1}, DatabaseId{2}}, DatabaseId{3}})
      .value();
  auto all = files.contents();
  const Buffer& base = all.at("db/base.json");
  for (std::uint8_t mends : {0, 1}) {
    Buffer input{mends, static_cast<std::uint8_t>(base.size() >> 8), static_cast<std::uint8_t>(base.size())};
    append_bytes(input, base);
    append_bytes(input, all.at("db/pages-" + to_hex(3) + ".crc"));
    seed("replay_base", "base-" + std::to_string(mends), input);
  }
  seed("database_info", "info", all.at("info/info.json"));
  seed("rename_record", "rename", all.at("dbs/rename.json"));
  seed(
      "node_identity", "node", {17},
      as_bytes(
          "00000000000000ab\n{\"cluster_id\": \"00000000000000cd\", \"epoch\": 7, \"role\": \"replica\"}\n"));
}

// SQLite's files

void sqlite_seeds(const fs::path& directory) {
  sqlite3* db = nullptr;
  const std::string path = directory / "a.db";
  sqlite3_open(path.c_str(), &db);
  run(db, "PRAGMA page_size=512; PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1);");
  run(db, "INSERT INTO t VALUES(zeroblob(2000));");
  const Buffer wal = read_all(path + "-wal");
  seed("wal", "wal", {0}, wal);
  seed("wal", "wal-sealed", {1}, wal);
  seed("wal_index", "shm", {0}, Bytes(read_all(path + "-shm")).first(48));
  seed("wal_index", "shm-sealed", {1}, Bytes(read_all(path + "-shm")).first(48));
  Buffer steps{6, 0, 0, 0, static_cast<std::uint8_t>(wal.size() >> 8), static_cast<std::uint8_t>(wal.size())};
  append_bytes(steps, wal);
  seed("wal_scanner", "wal", steps);
  run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
  seed("database_header", "wal-mode", Bytes(read_all(path)).first(100));
  run(db, "PRAGMA journal_mode=PERSIST; CREATE TABLE u(x); BEGIN; INSERT INTO u VALUES(2);");
  sqlite3_db_cacheflush(db);
  seed("journal", "hot", {0}, Bytes(read_all(path + "-journal")).first(1100));
  run(db, "COMMIT");
  seed("journal", "super", {1}, as_bytes("/data/a.db-mj0123459AB"));
  seed("journal", "companion", {0}, as_bytes("a.db-wal"));
  seed("database_header", "rollback", Bytes(read_all(path)).first(100));
  sqlite3_close(db);
  // Restart, append, commit, roll back, write a page again, seal.
  seed("wal_scanner", "steps", Buffer{0, 0, 0, 1, 2, 1, 1, 1,  9, 1, 2, 0, 5, 7,  1, 3, 1, 2, 8, 4, 1, 9,
                                      2, 4, 0, 6, 3, 5, 0, 11, 5, 4, 2, 8, 8, 10, 7, 1, 1, 1, 4, 3, 3, 7});
}

// Wire

void put(Buffer& stream, const wire::Message& message) { wire::append_frame(message, stream); }

Buffer conversation() {
  Buffer stream;
  put(stream, stream::hello_message(NodeId{7}, {ClusterId{8}, Epoch{9}, Role::kPrimary}, "host:1"));
  wire::Message have;
  have.mutable_have()->add_databases()->set_id(1);
  have.mutable_have()->set_last(true);
  put(stream, have);
  put(stream, stream::announce_message({{DatabaseId{1}, "a/b.db"}, {Epoch{1}, Txid{2}}, 3}));
  wire::Message begin;
  begin.mutable_snapshot_begin()->set_id(1);
  begin.mutable_snapshot_begin()->set_page_size(512);
  put(stream, begin);
  stream::PageBatch batch(512);
  for (std::uint32_t n : {1u, 2u, 9u}) batch.add(Pgno{n}, page('x')).value();
  batch.append_frame(DatabaseId{1}, stream);
  wire::Message chunk;
  stream::ChangeSetInfo info{{}, {Epoch{1}, Txid{1}}, 5, 6, 7};
  put(stream, stream::change_set_message(DatabaseId{1}, info));
  chunk.mutable_chunk()->set_id(1);
  chunk.mutable_chunk()->set_size(5);
  put(stream, chunk);
  append_bytes(stream, Buffer(5, 'c'));
  wire::Message heartbeat, ack, refusal;
  heartbeat.mutable_heartbeat()->add_backlog()->set_txid(4);
  ack.mutable_ack()->add_progress()->set_logged(4);
  refusal.mutable_refusal()->set_message("no");
  for (const auto& message : {heartbeat, ack, refusal}) put(stream, message);
  return stream;
}

/// A large message, and its payload dribbling in.
Buffer slow_payload() {
  wire::Message message;
  auto* pages = message.mutable_snapshot_pages();
  for (std::uint32_t n = 0; n < 5000; ++n) pages->add_runs();
  pages->set_raw_size(6000);
  pages->set_size(6000);
  Buffer stream;
  put(stream, message);
  append_bytes(stream, Buffer(6000));
  return stream;
}

void wire_seeds() {
  seed("wire_frame", "conversation", {0}, conversation());
  seed("wire_frame", "conversation-in-pieces", {3}, conversation());
  seed("wire_frame", "slow-payload", {1}, slow_payload());
  // Announce, snapshot, pages, end, change set, chunk.
  seed("applier", "snapshot-and-change",
       Buffer{0, 0, 0x80, 13,   1, 'a', 1, 1, 1, 2, 0, 0x80, 2, 0,    0, 0,    0, 1, 1,
              1, 3, 0,    0x80, 1, 0,   0, 0, 1, 1, 2, 0,    1, 4,    0, 0x80, 1, 1, 1,
              5, 0, 0x80, 1,    1, 1,   2, 1, 1, 0, 9, 6,    0, 0x80, 0, 8,    7});
  seed("applier", "spooled", Buffer{5, 0, 0x80, 1, 1, 1, 2, 1, 1, 7, 0xd0, 6, 0xc0, 0x80, 7, 0xcf, 7});
  Buffer events;
  for (std::uint8_t kind = 0; kind < 12; ++kind) {
    events.push_back(kind), events.push_back(0);
    for (std::uint8_t i = 0; i < 24; ++i) events.push_back(i % 8 == 7 ? i : 0);
  }
  seed("replica_record", "events", events);
}

void config_seeds() {
  seed("config_file", "all",
       as_bytes("data: /data\nmountpoint: /mnt\nlisten: :20202\nprimary: ${P:-db-1:20202}\n"
                "heartbeat: ${A}\nretention:\n  bytes: 1GiB\n  time: 24h\nallow-other: true\n"
                "exec: [\"app\", \"--x\", $${y}]\n"));
  seed("config_file", "anchors", as_bytes("a: &a [1, 2]\nb: *a\n? {c: d}\n: |\n  text\n---\n%TAG ! x\n"));
}

}  // namespace
}  // namespace rillfs::fuzz

int main(int argc, char** argv) {
  using namespace rillfs::fuzz;
  if (argc != 2) return 2;
  root = argv[1];
  std::string temporary = fs::temp_directory_path() / "rillfs-seeds-XXXXXX";
  if (!mkdtemp(temporary.data())) return 1;
  ltx_seeds();
  log_seeds();
  json_seeds();
  sqlite_seeds(temporary);
  wire_seeds();
  config_seeds();
  fs::remove_all(temporary);
}
