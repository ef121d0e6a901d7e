#include "fs/database_info.h"

#include <nlohmann/json.hpp>

#include "fs/json_file.h"
#include "fs/name_hex.h"
#include "replication/base/failpoint.h"

namespace rillfs {
namespace {

constexpr std::size_t kInfoSizeMax = 64 * 1024;
constexpr Label kLabel = "database info";

/// False if there is something else than a number up to `max`; what is not there stays as it is.
bool read_number(const nlohmann::json& json, const char* key, std::uint64_t max, std::uint32_t& to) {
  const auto found = json.find(key);
  if (found == json.end()) return true;
  if (!found->is_number_unsigned() || found->get<std::uint64_t>() > max) return false;
  to = static_cast<std::uint32_t>(found->get<std::uint64_t>());
  return true;
}

}  // namespace

Result<void> save_database_info(FileSystem& files, const std::string& directory,
                                const stream::DatabaseInfo& info) {
  const nlohmann::json json{{"path", info.path},
                            {"path_hex", hex_of(info.path)},
                            {"mode", info.mode},
                            {"uid", info.uid},
                            {"gid", info.gid}};
  return save_json(files, directory + "/info.json", json, kLabel);
}

Result<stream::DatabaseInfo> load_database_info(FileSystem& files, const std::string& directory,
                                                DatabaseId id) {
  RILL_ASSIGN(Buffer text, read_file(files, directory + "/info.json", kInfoSizeMax, kLabel));
  const auto json = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  auto damaged = [&](const std::string& what) {
    return make_error(ErrorCode::kCorrupt,
                      directory + "/info.json cannot be understood: " + what + "; restore it from a copy");
  };
  if (!json.is_object()) return damaged("it is no JSON object");
  const auto path = json.find("path_hex");
  if (path == json.end() || !path->is_string() || !is_hex(path->get<std::string>()))
    return damaged("path_hex is no text of hex digits");
  stream::DatabaseInfo info;
  info.id = id;
  info.path = bytes_of(path->get<std::string>());
  if (!stream::is_database_path(info.path)) return damaged("path_hex is no relative path");
  if (!read_number(json, "mode", 07777, info.mode)) return damaged("mode is no file mode");
  if (!read_number(json, "uid", UINT32_MAX, info.uid)) return damaged("uid is no user's number");
  if (!read_number(json, "gid", UINT32_MAX, info.gid)) return damaged("gid is no group's number");
  return info;
}

Result<void> remove_database_directory(Environment& environment, DatabaseId id) {
  FileSystem& files = environment.files;
  // One step takes it out of recovery's sight; the rest may be interrupted.
  const std::string garbage = environment.spool_directory() + "/dropped-" + to_hex(id.value);
  auto moved = files.rename(environment.database_directory(id), garbage, "drop database");
  if (!moved && moved.error().code != ErrorCode::kNotFound) {
    // Left as it is, it would claim whatever file gets its name next. Without the description it cannot.
    RILL_TRY(remove_if_there(files, environment.database_directory(id) + "/info.json", "drop database"));
    return remove_tree(files, environment.database_directory(id), "drop database");
  }
  failpoint::reach("drop.after_move");
  RILL_ASSIGN(bool left, files.exists(garbage, "drop database"));
  return left ? remove_tree(files, garbage, "drop database") : Result<void>();
}

}  // namespace rillfs
