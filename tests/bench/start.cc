// Starts a daemon and takes the time until a database in its mount answers a query. The daemon runs on.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "tests/bench/connection.h"
#include "tests/bench/measurements.h"

namespace rillfs::bench {
namespace {

constexpr std::int64_t kGiveUpNs = 120'000'000'000;

pid_t spawn(const Words& command, const std::string& log) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  for (int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(fd, stream);
  ::setsid();
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

}  // namespace

int start(const Words& words) {
  const std::int64_t begin = now_ns();
  const pid_t pid = spawn({words.begin() + 2, words.end()}, words[1]);
  if (pid < 0) give_up("fork");
  while (::access(words[0].c_str(), F_OK) != 0) {
    if (::waitpid(pid, nullptr, WNOHANG) == pid) give_up("the daemon ended; see " + words[1]);
    if (now_ns() - begin > kGiveUpNs) give_up("the daemon does not answer; see " + words[1]);
    const timespec pause{0, 500'000};
    ::nanosleep(&pause, nullptr);
  }
  const std::int64_t mounted = now_ns();
  {
    Connection connection(words[0]);
    Statement(connection, "SELECT id FROM t WHERE id=1").run();
  }
  std::cout << nlohmann::json{{"pid", pid},
                              {"mounted_ms", static_cast<double>(mounted - begin) / 1e6},
                              {"first_row_ms", static_cast<double>(now_ns() - begin) / 1e6}}
            << "\n";
  return 0;
}

}  // namespace rillfs::bench
