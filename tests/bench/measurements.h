// What the load generator can measure: one function a subcommand. Each prints one JSON object.
#pragma once

#include <string>
#include <vector>

namespace rillfs::bench {

using Words = std::vector<std::string>;

/// fill PATH JOURNAL ROWS                         a database to read: table t with ROWS rows of about 120
/// bytes
int fill(const Words& words);
/// compare CASE ROUNDS OPS NAME=PATH...           one load on several places, in turns
int compare(const Words& words);
/// visible PRIMARY REPLICA RATE SECONDS HOLD      from COMMIT on one node to visible on another
int visible(const Words& words);
/// requests select|insert PATH OPS COMMAND...     requests to the daemon; COMMAND prints its status as JSON
int requests(const Words& words);

}  // namespace rillfs::bench
