#include "fs/rename_record.h"

#include <sys/stat.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "fs/json_file.h"
#include "fs/name_hex.h"

namespace rillfs {
namespace {

/// Three million databases in one directory.
constexpr std::size_t kRecordSizeMax = std::size_t{64} << 20;
constexpr Label kLabel = "rename record";

using nlohmann::json;

constexpr const char* kName = "rename.json";

std::string path_in(const std::string& directory) { return directory + "/" + kName; }

std::optional<std::string> name_at(const json& record, const char* key) {
  auto it = record.find(key);
  if (it == record.end() || !it->is_string() || !is_hex(it->get<std::string>())) return std::nullopt;
  return bytes_of(it->get<std::string>());
}

std::optional<std::uint64_t> number_at(const json& record, const char* key) {
  auto it = record.find(key);
  if (it == record.end() || !it->is_number_unsigned()) return std::nullopt;
  return it->get<std::uint64_t>();
}

std::optional<DatabaseId> id_of(const json& value) {
  auto id = value.is_string() ? from_hex(value.get<std::string>()) : std::nullopt;
  return id ? std::optional(DatabaseId{*id}) : std::nullopt;
}

std::optional<RenameRecord> parse(const Buffer& text) {
  const json record = json::parse(text.begin(), text.end(), nullptr, false);
  if (!record.is_object()) return std::nullopt;
  auto from = name_at(record, "from_hex"), to = name_at(record, "to_hex");
  auto inode = number_at(record, "inode"), tree_inode = number_at(record, "tree_inode");
  if (!from || !to || !inode || !tree_inode) return std::nullopt;
  RenameRecord parsed{*from, *to, *inode, *tree_inode, {}, {}};
  if (!record.contains("moved") || !record["moved"].is_array()) return std::nullopt;
  for (const json& value : record["moved"]) {
    auto id = id_of(value);
    if (!id) return std::nullopt;
    parsed.moved.push_back(*id);
  }
  if (!record.contains("replaced")) return parsed;
  parsed.replaced = id_of(record["replaced"]);
  return parsed.replaced ? std::optional(std::move(parsed)) : std::nullopt;
}

/// Nothing if nothing is there.
Result<std::optional<std::uint64_t>> inode_at(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) return std::optional<std::uint64_t>(status.st_ino);
  if (errno == ENOENT || errno == ENOTDIR) return std::optional<std::uint64_t>();
  return errno_error(errno, path);
}

}  // namespace

Result<void> save_rename_record(FileSystem& files, const std::string& directory, const RenameRecord& record) {
  json object{{"from", record.from},   {"from_hex", hex_of(record.from)},
              {"to", record.to},       {"to_hex", hex_of(record.to)},
              {"inode", record.inode}, {"tree_inode", record.tree_inode},
              {"moved", json::array()}};
  for (DatabaseId id : record.moved) object["moved"].push_back(to_hex(id.value));
  if (record.replaced) object["replaced"] = to_hex(record.replaced->value);
  return save_json(files, path_in(directory), object, kLabel);
}

Result<std::optional<RenameRecord>> load_rename_record(FileSystem& files, const std::string& directory) {
  RILL_ASSIGN(bool there, files.exists(path_in(directory), kLabel));
  if (!there) return std::optional<RenameRecord>();
  RILL_ASSIGN(Buffer text, read_file(files, path_in(directory), kRecordSizeMax, kLabel));
  auto record = parse(text);
  if (record) return record;
  return make_error(
      ErrorCode::kCorrupt,
      path_in(directory) +
          " cannot be understood: it says what was being renamed when the node stopped. See "
          "that the path in each dbs/*/info.json is where its file is in tree/, then remove it");
}

Result<void> remove_rename_record(FileSystem& files, const std::string& directory) {
  return remove_json(files, directory, kName, kLabel);
}

Result<RenameOutcome> rename_outcome(const std::string& tree_directory, const RenameRecord& record) {
  RILL_ASSIGN(auto root, inode_at(tree_directory));
  RILL_ASSIGN(auto from, inode_at(tree_directory + "/" + record.from));
  RILL_ASSIGN(auto to, inode_at(tree_directory + "/" + record.to));
  const bool copied = root != record.tree_inode;  // restored file by file
  if (!from && to && (copied || to == record.inode)) return RenameOutcome::kMade;
  if (from && (copied ? !to : from == record.inode)) return RenameOutcome::kNotMade;
  return RenameOutcome::kUnknown;
}

std::string parent_of(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == std::string::npos ? "" : "/" + path.substr(0, slash);
}

std::optional<std::string> renamed_path(const std::string& path, const std::string& from,
                                        const std::string& to) {
  if (path == from) return to;
  if (!path.starts_with(from + "/")) return std::nullopt;
  return to + path.substr(from.size());
}

}  // namespace rillfs
