#include "fs/attached_record.h"

#include <nlohmann/json.hpp>

#include "fs/json_file.h"
#include "fs/name_hex.h"

namespace rillfs {
namespace {

/// SQLite attaches no more than 125 databases.
constexpr std::size_t kRecordSizeMax = std::size_t{1} << 20;
constexpr Label kLabel = "attached record";

using nlohmann::json;

constexpr const char* kName = "attached.json";

std::string path_in(const std::string& directory) { return directory + "/" + kName; }

std::optional<AttachedRecord> parse(const Buffer& text) {
  const json record = json::parse(text.begin(), text.end(), nullptr, false);
  if (!record.is_object() || !record.contains("super_journal_hex") || !record.contains("databases"))
    return std::nullopt;
  const json& name = record["super_journal_hex"];
  const json& databases = record["databases"];
  if (!name.is_string() || !is_hex(name.get<std::string>()) || !databases.is_array()) return std::nullopt;
  AttachedRecord parsed{bytes_of(name.get<std::string>()), {}};
  for (const json& one : databases) {
    if (!one.is_object() || !one.contains("id") || !one.contains("txid")) return std::nullopt;
    auto id = one["id"].is_string() ? from_hex(one["id"].get<std::string>()) : std::nullopt;
    if (!id || !one["txid"].is_number_unsigned()) return std::nullopt;
    parsed.databases.emplace_back(DatabaseId{*id}, Txid{one["txid"].get<std::uint64_t>()});
  }
  return parsed;
}

}  // namespace

Result<void> save_attached_record(FileSystem& files, const std::string& directory,
                                  const AttachedRecord& record) {
  json object{{"super_journal", record.super_journal},
              {"super_journal_hex", hex_of(record.super_journal)},
              {"databases", json::array()}};
  for (const auto& [id, txid] : record.databases)
    object["databases"].push_back({{"id", to_hex(id.value)}, {"txid", txid.value}});
  return save_json(files, path_in(directory), object, kLabel);
}

Result<std::optional<AttachedRecord>> load_attached_record(FileSystem& files, const std::string& directory) {
  RILL_ASSIGN(bool there, files.exists(path_in(directory), kLabel));
  if (!there) return std::optional<AttachedRecord>();
  RILL_ASSIGN(Buffer text, read_file(files, path_in(directory), kRecordSizeMax, kLabel));
  auto record = parse(text);
  if (record) return record;
  return make_error(ErrorCode::kCorrupt,
                    path_in(directory) +
                        " cannot be understood: it says which databases a transaction was changing together "
                        "when the node stopped. Without it, some may have that transaction and others not; "
                        "restore it from a backup, or remove it to go on all the same");
}

Result<void> remove_attached_record(FileSystem& files, const std::string& directory) {
  return remove_json(files, directory, kName, kLabel);
}

}  // namespace rillfs
