#include "cmd/out_of_memory.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <ctime>
#include <new>

namespace rillfs::cmd {
namespace {

constexpr const char* kMessage =
    "out of memory: the daemon ends. Nothing that was committed is lost; applications see their mount go. "
    "Start it again, with more memory, or fewer or smaller databases (8 bytes a page are needed)";

// Nothing here allocates.
using Line = std::array<char, 512>;

[[noreturn]] void say_and_end(const Line& line, int length) {
  [[maybe_unused]] auto written = ::write(STDERR_FILENO, line.data(), static_cast<std::size_t>(length));
  ::_exit(1);
}

[[noreturn]] void end_in_text() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  ::gmtime_r(&now.tv_sec, &utc);
  std::array<char, 32> time{};
  std::strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  Line line;
  say_and_end(line, std::snprintf(line.data(), line.size(), "%s.%03ld+00:00 critical %s\n", time.data(),
                                  now.tv_nsec / 1'000'000, kMessage));
}

[[noreturn]] void end_in_json() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  Line line;
  say_and_end(line,
              std::snprintf(line.data(), line.size(),
                            R"({"time_ms":%lld,"level":"critical","message":"%s"})"
                            "\n",
                            static_cast<long long>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000, kMessage));
}

}  // namespace

void end_when_out_of_memory(bool json) { std::set_new_handler(json ? end_in_json : end_in_text); }

}  // namespace rillfs::cmd
