#include "fs/json_file.h"

#include <nlohmann/json.hpp>

namespace rillfs {

Result<void> save_json(FileSystem& files, const std::string& path, const nlohmann::json& json, Label label) {
  const std::string text = json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return replace_file(files, path, Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()),
                      label);
}

Result<void> remove_json(FileSystem& files, const std::string& directory, const std::string& name,
                         Label label) {
  for (const char* suffix : {"", ".tmp"}) {
    RILL_TRY(remove_if_there(files, directory + "/" + name + suffix, label));
  }
  return files.sync_directory(directory, label);
}

}  // namespace rillfs
