// rename.json. Input: the file.
#include "fs/rename_record.h"

#include "support/memory_file_system.h"
#include "support/target.h"

RILL_FUZZ_TARGET(rename_record) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  MemoryFileSystem files;
  files.put("dbs/rename.json", input);
  auto record = load_rename_record(files, "dbs");
  if (!record) {
    require(record.error().code == ErrorCode::kCorrupt, "what cannot be understood is corrupt");
    return;
  }
  require(record->has_value(), "a record that is there is there");
  for (const std::string& path : {(*record)->from, (*record)->to, std::string("a/b")}) {
    (void)parent_of(path);
    auto renamed = renamed_path(path, (*record)->from, (*record)->to);
    if (path == (*record)->from) require(renamed == (*record)->to, "what is renamed has the new name");
  }
  require(save_rename_record(files, "dbs", **record).has_value(), "it can be saved");
  const auto once = files.contents();
  auto again = load_rename_record(files, "dbs");
  require(again && *again && (*again)->from == (*record)->from && (*again)->to == (*record)->to &&
              (*again)->moved == (*record)->moved && (*again)->replaced == (*record)->replaced &&
              (*again)->inode == (*record)->inode && (*again)->tree_inode == (*record)->tree_inode,
          "it comes back");
  require(save_rename_record(files, "dbs", **again).has_value(), "it can be saved again");
  require(files.contents() == once, "saving is canonical");
}
