// `rillfs ltx`: a look into LTX files and log segments, without a daemon.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace rillfs::cmd {

enum class ListFormat { kTable, kTsv, kJson };

/// Each returns the exit code: 1 if any file did not verify, which does not keep the others from being looked
/// at. Results go to `out`, errors of list, dump and extract to stderr.

/// One line per file: "FILE: ok", or what is wrong.
int run_ltx_verify(const std::vector<std::string>& paths, std::ostream& out);
/// One row per change set; all of it is verified on the way.
int run_ltx_list(const std::vector<std::string>& paths, ListFormat format, std::ostream& out);
/// Header, page numbers (with `pages`, their content) and trailer.
int run_ltx_dump(const std::vector<std::string>& paths, bool pages, std::ostream& out);
/// Writes every change set as `<min txid>-<max txid>.ltx` into `directory`, which is created. Only verified
/// files get their name; existing ones are never replaced.
int run_ltx_extract(const std::vector<std::string>& paths, const std::string& directory, std::ostream& out);

}  // namespace rillfs::cmd
