// Small JSON files of the data directory: info.json, base.json, and the records of what is under way.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "replication/base/error.h"
#include "replication/base/file_system.h"

namespace rillfs {

/// Indented for people, bytes that are no UTF-8 replaced. Durable when it returns, whole or not at all
/// (replace_file).
Result<void> save_json(FileSystem& files, const std::string& path, const nlohmann::json& json, Label label);
/// Removes what `save_json` wrote at `directory`/`name`, and what it left when the node died or the disk was
/// full. That there is none is no error. Durable when it returns.
Result<void> remove_json(FileSystem& files, const std::string& directory, const std::string& name,
                         Label label);

}  // namespace rillfs
