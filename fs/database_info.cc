#include "fs/database_info.h"

#include <nlohmann/json.hpp>

namespace rillfs {
namespace {

constexpr std::size_t kInfoSizeMax = 64 * 1024;
constexpr Label kLabel = "database info";

std::string hex_of(const std::string& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned char c : bytes) {
    text += kDigits[c >> 4];
    text += kDigits[c & 15];
  }
  return text;
}

std::string bytes_of(const std::string& hex) {
  auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1]));
  }
  return bytes;
}

bool is_hex(const std::string& text) {
  return text.size() % 2 == 0 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

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
  // One step takes it out of recovery's sight; the rest may be interrupted.
  const std::string garbage = environment.spool_directory() + "/dropped-" + to_hex(id.value);
  RILL_TRY(environment.files.rename(environment.database_directory(id), garbage, "drop database"));
  return remove_tree(environment.files, garbage, "drop database");
}

}  // namespace rillfs
