// info.json. Input: the file.
#include "fs/database_info.h"

#include "support/memory_file_system.h"
#include "support/target.h"

RILL_FUZZ_TARGET(database_info) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  MemoryFileSystem files;
  files.put("db/info.json", input);
  auto info = load_database_info(files, "db", DatabaseId{7});
  if (!info) return;
  require(stream::is_database_path(info->path), "a name is a relative path");
  require(info->mode <= 07777, "a mode has permission bits only");
  require(save_database_info(files, "db", *info).has_value(), "it can be saved");
  auto again = load_database_info(files, "db", DatabaseId{7});
  require(again && *again == *info, "it comes back");
  const auto once = files.contents();
  require(save_database_info(files, "db", *again).has_value(), "it can be saved again");
  require(files.contents() == once, "saving is canonical");
}
