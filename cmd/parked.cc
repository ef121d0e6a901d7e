#include "cmd/parked.h"

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cmd/ltx.h"
#include "cmd/printable.h"
#include "cmd/report.h"
#include "cmd/table.h"
#include "fs/database_info.h"

namespace rillfs::cmd {
namespace {

constexpr Label kParked = "parked";
constexpr std::size_t kChunk = std::size_t{1} << 20;

std::string directory_of(const std::string& data) { return data + "/parked"; }

ParkedKind kind_of(const std::string& name) {
  constexpr std::size_t kIdDigits = 16;
  if (name.size() < kIdDigits + 2 || !from_hex(name.substr(0, kIdDigits)) || name[kIdDigits] != '-')
    return ParkedKind::kOther;
  const std::string rest = name.substr(kIdDigits + 1);
  if (rest.starts_with("damaged")) return ParkedKind::kDamaged;
  if (rest.starts_with("without-file")) return ParkedKind::kWithoutFile;
  if (rest.starts_with("not-taken-over")) return ParkedKind::kNotTakenOver;
  return ParkedKind::kBranch;
}

const char* text_of(ParkedKind kind) {
  switch (kind) {
    case ParkedKind::kBranch:
      return "branch that lost";
    case ParkedKind::kDamaged:
      return "damaged database";
    case ParkedKind::kWithoutFile:
      return "log without its file";
    case ParkedKind::kNotTakenOver:
      return "content that was not taken over";
    case ParkedKind::kOther:
      break;
  }
  return "not from rillfs";
}

Result<std::uint64_t> size_of(FileSystem& files, const std::string& directory) {
  RILL_ASSIGN(auto entries, files.list(directory, kParked));
  std::uint64_t size = 0;
  for (const DirectoryEntry& entry : entries) {
    const std::string path = directory + "/" + entry.name;
    if (entry.is_directory) {
      RILL_ASSIGN(std::uint64_t below, size_of(files, path));
      size += below;
      continue;
    }
    RILL_ASSIGN(auto file, files.open(path, OpenMode::kRead, kParked));
    RILL_ASSIGN(std::uint64_t bytes, file->size(kParked));
    size += bytes;
  }
  return size;
}

Result<Parked> look_at(FileSystem& files, const std::string& directory, const std::string& name) {
  Parked parked;
  parked.name = name;
  parked.kind = kind_of(name);
  const std::string path = directory + "/" + name;
  if (auto info = load_database_info(files, path, DatabaseId{})) parked.database = info->path;
  RILL_ASSIGN(parked.size, size_of(files, path));
  RILL_ASSIGN(parked.has_database, files.exists(path + "/database", kParked));
  return parked;
}

Result<void> copy_file(FileSystem& files, const std::string& from, const std::string& to) {
  RILL_ASSIGN(auto source, files.open(from, OpenMode::kRead, kParked));
  RILL_ASSIGN(auto target, files.open(to, OpenMode::kCreateNew, kParked));
  Buffer chunk(kChunk);
  for (std::uint64_t offset = 0;; offset += chunk.size()) {
    RILL_ASSIGN(std::size_t got, source->read_at(chunk, offset, kParked));
    RILL_TRY(target->write_at(Bytes(chunk).first(got), offset, kParked));
    if (got < chunk.size()) break;
  }
  return target->sync_data(kParked);
}

/// Whole or not at all: under another name until it is complete.
Result<void> export_file(FileSystem& files, const std::string& from, const std::string& target) {
  const std::string unfinished = target + ".tmp-rillfs";
  RILL_TRY(remove_if_there(files, unfinished, kParked));
  RILL_TRY(copy_file(files, from, unfinished));
  return files.rename(unfinished, target, kParked);
}

Result<void> export_change_sets(FileSystem& files, const std::string& from, const std::string& target) {
  RILL_ASSIGN(auto entries, files.list(from + "/log", kParked));
  std::vector<std::string> segments;
  for (const DirectoryEntry& entry : entries)
    if (entry.name.ends_with(".seg")) segments.push_back(from + "/log/" + entry.name);
  if (segments.empty()) return make_error(ErrorCode::kNotFound, from + " has neither a database nor a log");
  std::sort(segments.begin(), segments.end());
  RILL_TRY(files.make_directories(target, kParked));
  std::ostringstream said;
  if (run_ltx_extract(segments, target, said) == kExitOk) return {};
  return make_error(ErrorCode::kCorrupt,
                    "not every change set could be written to " + target + ": " + said.str());
}

/// Where `name` lies. Only what is listed: no way out of parked/.
Result<Parked> find(FileSystem& files, const std::string& data, const std::string& name) {
  RILL_ASSIGN(auto all, list_parked(files, data));
  for (Parked& parked : all)
    if (parked.name == name) return std::move(parked);
  return make_error(ErrorCode::kNotFound,
                    "nothing is parked as '" + name + "'; 'rillfs parked list' shows what is");
}

}  // namespace

Result<std::vector<Parked>> list_parked(FileSystem& files, const std::string& data) {
  auto entries = files.list(directory_of(data), kParked);
  std::vector<Parked> all;
  if (!entries && entries.error().code == ErrorCode::kNotFound) return all;
  if (!entries) return std::move(entries).error();
  for (const DirectoryEntry& entry : *entries) {
    if (!entry.is_directory || entry.name.ends_with(".tmp")) continue;
    RILL_ASSIGN(Parked parked, look_at(files, directory_of(data), entry.name));
    all.push_back(std::move(parked));
  }
  std::sort(all.begin(), all.end(), [](const Parked& a, const Parked& b) { return a.name < b.name; });
  return all;
}

Result<void> export_parked(FileSystem& files, const std::string& data, const std::string& name,
                           const std::string& target) {
  RILL_ASSIGN(Parked parked, find(files, data, name));
  RILL_ASSIGN(bool taken, files.exists(target, kParked));
  if (taken) return make_error(ErrorCode::kInvalid, target + " exists; give another name");
  const std::string from = directory_of(data) + "/" + name;
  if (!parked.has_database) return export_change_sets(files, from, target);
  // First, so that the database never stands there without it.
  for (const char* suffix : {"-wal", "-journal"}) {
    RILL_ASSIGN(bool there, files.exists(from + "/database" + suffix, kParked));
    if (there) RILL_TRY(export_file(files, from + "/database" + suffix, target + suffix));
  }
  return export_file(files, from + "/database", target);
}

Result<void> drop_parked(FileSystem& files, const std::string& data, const std::string& name) {
  RILL_TRY(find(files, data, name));
  const std::string path = directory_of(data) + "/" + name;
  RILL_TRY(files.rename(path, path + ".tmp", kParked));
  RILL_TRY(files.sync_directory(directory_of(data), kParked));
  return remove_tree(files, path + ".tmp", kParked);
}

int run_parked_list(const std::string& data, bool json) {
  PosixFileSystem files;
  auto all = list_parked(files, data);
  if (!all) return report(all.error());
  if (json) {
    nlohmann::json out = nlohmann::json::array();
    for (const Parked& one : *all)
      out.push_back({{"name", valid_utf8(one.name)},
                     {"database", one.database.empty() ? nlohmann::json(nullptr)
                                                       : nlohmann::json(valid_utf8(one.database))},
                     {"kind", text_of(one.kind)},
                     {"size", one.size},
                     {"exports_as", one.has_database ? "database" : "change sets"}});
    std::cout << out.dump(2) << std::endl;
    return kExitOk;
  }
  if (all->empty()) {
    std::cout << "Nothing is parked.\n";
    return kExitOk;
  }
  Table table({{"PARKED"}, {"DATABASE"}, {"WHAT"}, {"SIZE", true}, {"EXPORTS AS"}});
  for (const Parked& one : *all)
    table.add({{printable(one.name), Colour::kBold},
               {one.database.empty() ? "-" : printable(one.database)},
               {text_of(one.kind)},
               {human_size(one.size)},
               {one.has_database ? "database" : "change sets"}});
  std::cout << table.render(wants_colour(1));
  return kExitOk;
}

int run_parked_export(const std::string& data, const std::string& name, const std::string& target) {
  PosixFileSystem files;
  auto exported = export_parked(files, data, name, target);
  if (!exported) return report(exported.error());
  std::cerr << printable("exported " + name + " to " + target) << std::endl;
  return kExitOk;
}

int run_parked_drop(const std::string& data, const std::string& name, bool yes) {
  PosixFileSystem files;
  if (!yes)
    return report(
        make_error(ErrorCode::kInvalid, "this removes " + name +
                                            " for good; look at it with 'rillfs parked export', then "
                                            "give --yes"),
        kExitUsage);
  auto dropped = drop_parked(files, data, name);
  return dropped ? kExitOk : report(dropped.error());
}

}  // namespace rillfs::cmd
