// `rillfs import` and `rillfs export` as commands: the daemon says where the mount is and who may write.
#include <iostream>

#include "cmd/control_client.h"
#include "cmd/printable.h"
#include "cmd/progress_bar.h"
#include "cmd/report.h"
#include "cmd/transfer.h"

namespace rillfs::cmd {
namespace {

Result<NodeStatus> mounted_node(const std::string& data) {
  RILL_ASSIGN(NodeStatus status, ask_status(data));
  if (status.mountpoint.empty())
    return make_error(ErrorCode::kBusy,
                      "the node on " + data + " has nothing mounted yet; try again shortly");
  return status;
}

int finish(const Result<void>& result, const std::string& done, bool quiet) {
  if (!result) return report(result.error());
  if (!quiet) std::cerr << printable(done) << std::endl;
  return kExitOk;
}

}  // namespace

int run_import(const std::string& data, const std::string& file, const std::string& name, bool quiet) {
  auto node = mounted_node(data);
  if (!node) return report(node.error());
  if (node->role == Role::kReplica)
    return report(make_error(ErrorCode::kReadOnly,
                             "this node is a replica and cannot import; run the import on "
                             "the primary" +
                                 (node->primary.empty() ? "" : ", " + node->primary)));
  Result<void> result;
  {
    ProgressBar bar("import " + name, quiet);
    result = import_database(file, node->mountpoint, name,
                             [&](std::uint64_t done, std::uint64_t total) { bar.update(done, total); });
  }
  return finish(result, "imported " + file + " as " + name, quiet);
}

int run_export(const std::string& data, const std::string& name, const std::string& file, bool force,
               bool quiet) {
  auto node = mounted_node(data);
  if (!node) return report(node.error());
  Result<void> result;
  {
    ProgressBar bar("export " + name, quiet);
    result = export_database(node->mountpoint, name, file, force,
                             [&](std::uint64_t done, std::uint64_t total) { bar.update(done, total); });
  }
  return finish(result, "exported " + name + " to " + file, quiet);
}

}  // namespace rillfs::cmd
