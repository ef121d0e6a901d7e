#include "cmd/ltx.h"

#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <ostream>

#include "cmd/change_set_file.h"
#include "cmd/printable.h"
#include "cmd/report.h"
#include "cmd/table.h"

namespace rillfs::cmd {
namespace {

using nlohmann::json;

constexpr std::size_t kCopyChunk = 256 * 1024;

/// Looks at every file; reports those that fail.
int each_file(const std::vector<std::string>& paths,
              const std::function<Result<void>(const ChangeSet&)>& visit) {
  PosixFileSystem files;
  int exit_code = kExitOk;
  for (const std::string& path : paths)
    if (auto done = for_each_change_set(files, path, visit); !done) exit_code = report(done.error());
  return exit_code;
}

/// What `list` says of one change set: column names are the JSON keys.
std::vector<std::pair<const char*, json>> row_of(const ChangeSet& set, const ltx::Summary& s) {
  const ltx::Header& h = s.header;
  return {{"file", valid_utf8(set.place)},
          {"min_txid", h.min_txid.value},
          {"max_txid", h.max_txid.value},
          {"snapshot", h.is_snapshot()},
          {"page_size", h.page_size},
          {"commit", h.commit.value},
          {"pages", s.page_count},
          {"size", s.size},
          {"timestamp_ms", h.timestamp_ms},
          {"pre_apply", to_hex(h.pre_apply.value)},
          {"post_apply", to_hex(s.trailer.post_apply.value)},
          {"file_checksum", to_hex(s.trailer.file.value)},
          {"node", to_hex(h.node.value)},
          {"epoch", set.record ? json(set.record->epoch.value) : json(nullptr)}};
}

std::string cell_text(const json& value) {
  return value.is_null() ? "-" : value.is_string() ? printable(value.get<std::string>()) : value.dump();
}

void print_tsv(std::ostream& out, const std::vector<std::pair<const char*, json>>& row, bool heading) {
  for (int line = heading ? 0 : 1; line < 2; ++line) {
    for (std::size_t i = 0; i < row.size(); ++i)
      out << (i == 0 ? "" : "\t") << (line == 0 ? row[i].first : cell_text(row[i].second));
    out << "\n";
  }
}

std::vector<Table::Cell> table_row(const ChangeSet& set, const ltx::Summary& s) {
  const ltx::Header& h = s.header;
  return {{printable(set.place)},
          {to_hex(h.min_txid.value)},
          {to_hex(h.max_txid.value)},
          {std::to_string(s.page_count)},
          {std::to_string(h.commit.value)},
          {human_size(h.page_size)},
          {human_size(s.size)},
          {utc_time(h.timestamp_ms)},
          {to_hex(s.trailer.post_apply.value)},
          {set.record ? std::to_string(set.record->epoch.value) : "-"}};
}

/// 16 bytes to a line, as hexdump -C; repeated lines appear as one '*'.
void hexdump(std::ostream& out, Bytes bytes) {
  std::string last, line;
  bool starred = false;
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    Bytes part = bytes.subspan(at, std::min<std::size_t>(16, bytes.size() - at));
    line.clear();
    std::string text;
    for (std::uint8_t byte : part) {
      line += " " + hex_of(std::string(1, static_cast<char>(byte)));
      text += byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '.';
    }
    if (line == last && at + 16 < bytes.size()) {
      if (!starred) out << "    *\n";
      starred = true;
      continue;
    }
    char offset[24];
    std::snprintf(offset, sizeof offset, "%05zx", at);
    out << "    " << offset << " " << line << "  |" << text << "|\n";
    last = line;
    starred = false;
  }
}

void dump_header(std::ostream& out, const ChangeSet& set, const ltx::Header& h) {
  out << printable(set.place) << "\n";
  if (set.record)
    out << "  record\n    epoch         " << set.record->epoch.value << "\n    database      "
        << to_hex(set.record->database.value) << "\n    log offset    " << set.record->log_offset
        << "\n    synced txid   " << to_hex(set.record->synced_txid.value) << "\n";
  out << "  header\n    txid          " << to_hex(h.min_txid.value) << "-" << to_hex(h.max_txid.value)
      << (h.is_snapshot() ? "  (snapshot)" : "") << "\n    flags         " << h.flags
      << (h.has_checksums() ? "" : "  (no checksums)") << "\n    page size     " << h.page_size
      << "\n    commit        " << h.commit.value << " pages" << (h.commit.value == 0 ? "  (deleted)" : "")
      << "\n    timestamp     " << utc_time(h.timestamp_ms) << "\n    pre-apply     "
      << to_hex(h.pre_apply.value) << "\n    node          " << to_hex(h.node.value)
      << "\n    wal           offset " << h.wal_offset << ", size " << h.wal_size << ", salts " << h.wal_salt1
      << " " << h.wal_salt2 << "\n  pages\n";
}

Result<void> dump(std::ostream& out, const ChangeSet& set, bool pages) {
  FileSource source = set.source();
  ltx::Decoder decoder(source);
  auto header = decoder.begin();
  if (!header) return header.error().with(set.place);
  dump_header(out, set, *header);
  for (;;) {
    auto page = decoder.next();
    if (!page) return page.error().with(set.place);
    if (!*page) break;
    out << "    " << (*page)->pgno.value << "\n";
    if (pages) hexdump(out, (*page)->data);
  }
  auto trailer = decoder.finish();
  if (!trailer) return trailer.error().with(set.place);
  RILL_TRY(check_envelope(set, *header, *trailer));
  out << "  trailer\n    post-apply    " << to_hex(trailer->post_apply.value) << "\n    file          "
      << to_hex(trailer->file.value) << "\n    size          " << decoder.size() << "\n";
  return {};
}

Result<void> copy_image(const ChangeSet& set, File& to) {
  FileSource source = set.source();
  Buffer chunk(kCopyChunk);
  for (std::uint64_t at = 0;;) {
    RILL_ASSIGN(std::size_t size, source.read(chunk));
    if (size == 0) return to.sync_data("ltx extract: sync");
    RILL_TRY(to.write_at(Bytes(chunk.data(), size), at, "ltx extract: write"));
    at += size;
  }
}

Result<std::string> extract(FileSystem& files, const ChangeSet& set, const std::string& directory) {
  RILL_ASSIGN(ltx::Summary summary, verify_change_set(set));
  std::string path = directory + "/" + ltx::file_name({summary.header.min_txid, summary.header.max_txid});
  RILL_ASSIGN(bool there, files.exists(path, "ltx extract: look"));
  if (there)
    return make_error(ErrorCode::kInvalid,
                      path + " exists; it was left as it is, extract into an empty directory");
  std::string temporary = path + ".tmp";
  RILL_ASSIGN(auto file, files.open(temporary, OpenMode::kCreateNew, "ltx extract: create"));
  auto written = copy_image(set, *file);
  if (written) written = files.rename(temporary, path, "ltx extract: rename");
  if (!written) {
    // The first error is the one that matters.
    (void)files.remove(temporary, "ltx extract: clean up");
    return written.error();
  }
  return path;
}

}  // namespace

int run_ltx_verify(const std::vector<std::string>& paths, std::ostream& out) {
  PosixFileSystem files;
  int exit_code = kExitOk;
  for (const std::string& path : paths) {
    auto done = for_each_change_set(files, path, [](const ChangeSet& set) -> Result<void> {
      RILL_TRY(verify_change_set(set));
      return {};
    });
    if (!done) exit_code = kExitFailure;
    out << printable(path) << ": " << (done ? "ok" : printable(done.error().message)) << "\n";
  }
  return exit_code;
}

int run_ltx_list(const std::vector<std::string>& paths, ListFormat format, std::ostream& out) {
  Table table({{"FILE"},
               {"MIN TXID"},
               {"MAX TXID"},
               {"PAGES", true},
               {"COMMIT", true},
               {"PAGE SIZE", true},
               {"SIZE", true},
               {"TIME"},
               {"POST-APPLY"},
               {"EPOCH", true}});
  json all = json::array();
  bool first = true;
  int exit_code = each_file(paths, [&](const ChangeSet& set) -> Result<void> {
    RILL_ASSIGN(ltx::Summary summary, verify_change_set(set));
    if (format == ListFormat::kTable) {
      table.add(table_row(set, summary));
    } else if (format == ListFormat::kTsv) {
      print_tsv(out, row_of(set, summary), std::exchange(first, false));
    } else {
      json row;
      for (auto& [key, value] : row_of(set, summary)) row[key] = value;
      all.push_back(std::move(row));
    }
    return {};
  });
  if (format == ListFormat::kTable) out << table.render(false);
  if (format == ListFormat::kJson) out << all.dump(2) << "\n";
  return exit_code;
}

int run_ltx_dump(const std::vector<std::string>& paths, bool pages, std::ostream& out) {
  return each_file(paths, [&](const ChangeSet& set) { return dump(out, set, pages); });
}

int run_ltx_extract(const std::vector<std::string>& paths, const std::string& directory, std::ostream& out) {
  PosixFileSystem files;
  if (auto made = files.make_directories(directory, "ltx extract: make directory"); !made)
    return report(made.error());
  int exit_code = each_file(paths, [&](const ChangeSet& set) -> Result<void> {
    RILL_ASSIGN(std::string path, extract(files, set, directory));
    out << printable(path) << "\n";
    return {};
  });
  if (auto synced = files.sync_directory(directory, "ltx extract: sync directory"); !synced)
    return report(synced.error());
  return exit_code;
}

}  // namespace rillfs::cmd
