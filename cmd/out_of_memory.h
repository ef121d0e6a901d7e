// What the daemon does when memory runs out: it says so and ends, at once.
//
// A request that is given up in the middle would leave a database's state in memory half changed, and the
// next commit would be captured wrongly. What is in the log is what counts, and the next start reads it.
#pragma once

namespace rillfs::cmd {

/// From now on, for the whole process. `json`: the last line is written as json_log.h writes lines.
void end_when_out_of_memory(bool json);

}  // namespace rillfs::cmd
