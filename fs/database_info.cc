#include "fs/database_info.h"

#include <nlohmann/json.hpp>

#include "fs/name_hex.h"

namespace rillfs {
namespace {

constexpr std::size_t kInfoSizeMax = 64 * 1024;
constexpr Label kLabel = "database info";

}  // namespace

Result<void> save_database_info(FileSystem& files, const std::string& directory,
                                const stream::DatabaseInfo& info) {
  const nlohmann::json json{{"path", info.path},
                            {"path_hex", hex_of(info.path)},
                            {"mode", info.mode},
                            {"uid", info.uid},
                            {"gid", info.gid}};
  const std::string text = json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return replace_file(files, directory + "/info.json",
                      Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()), kLabel);
}

Result<stream::DatabaseInfo> load_database_info(FileSystem& files, const std::string& directory,
                                                DatabaseId id) {
  RILL_ASSIGN(Buffer text, read_file(files, directory + "/info.json", kInfoSizeMax, kLabel));
  const auto json = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  const bool complete = json.is_object() && json.contains("path_hex") && json["path_hex"].is_string() &&
                        is_hex(json["path_hex"].get<std::string>());
  if (!complete) {
    return make_error(ErrorCode::kCorrupt,
                      directory + "/info.json cannot be understood; restore it from a copy");
  }
  stream::DatabaseInfo info;
  info.id = id;
  info.path = bytes_of(json["path_hex"].get<std::string>());
  info.mode = json.value("mode", 0644U);
  info.uid = json.value("uid", 0U);
  info.gid = json.value("gid", 0U);
  return info;
}

Result<void> remove_database_directory(Environment& environment, DatabaseId id) {
  FileSystem& files = environment.files;
  // One step takes it out of recovery's sight; the rest may be interrupted.
  const std::string garbage = environment.spool_directory() + "/dropped-" + to_hex(id.value);
  auto moved = files.rename(environment.database_directory(id), garbage, "drop database");
  if (!moved && moved.error().code != ErrorCode::kNotFound) return moved;
  RILL_ASSIGN(bool left, files.exists(garbage, "drop database"));
  return left ? remove_tree(files, garbage, "drop database") : Result<void>();
}

}  // namespace rillfs
