#include "cmd/mount.h"

#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "cmd/daemon.h"
#include "cmd/json_log.h"
#include "cmd/out_of_memory.h"
#include "cmd/report.h"

namespace rillfs::cmd {
namespace {

constexpr int kExitNotFound = 127;
/// How often the main thread looks whether somebody has unmounted us.
constexpr timespec kLook{0, 200'000'000};

void set_up_log(const Config& config) {
  auto logger = spdlog::stderr_color_mt("rillfs");
  spdlog::set_default_logger(logger);
  static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::trace, spdlog::level::debug,
                                                          spdlog::level::info, spdlog::level::warn,
                                                          spdlog::level::err};
  spdlog::set_level(kLevels[static_cast<int>(config.log_level)]);
  const bool json = config.log_format == LogFormat::kJson;
  end_when_out_of_memory(json);
  if (json) {
    spdlog::set_formatter(make_json_formatter());
  } else {
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  }
}

sigset_t awaited_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD})
    sigaddset(&signals, signal);
  return signals;
}

/// Starts the configured command in the daemon's working directory with its standard streams.
Result<pid_t> start_command(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return errno_error(errno, "start " + command.front());
  if (pid != 0) return pid;
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::execvp(argv[0], argv.data());
  ::dprintf(STDERR_FILENO, "rillfs: %s: %s\n", argv[0], std::strerror(errno));
  ::_exit(kExitNotFound);
}

/// Exit code of a finished command, as a shell gives it.
int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

/// Until there is a reason to stop; returns the exit code.
int run_until_stopped(const Config& config, Daemon& daemon) {
  std::atomic<bool> ready{false};
  if (!config.exec.empty()) {
    daemon.when_ready([&ready] {
      ready = true;
      ::kill(::getpid(), SIGCHLD);  // wakes the loop below
    });
  }
  const sigset_t signals = awaited_signals();
  pid_t command = 0;
  for (;;) {
    if (ready.exchange(false)) {
      auto started = start_command(config.exec);
      if (!started) return report(started.error());
      command = *started;
    }
    const int signal = sigtimedwait(&signals, nullptr, &kLook);
    if (daemon.unmounted()) {
      spdlog::warn("{} was unmounted from outside: stopping", config.mountpoint);
      return command == 0 ? 0 : 1;
    }
    if (signal == SIGCHLD) {
      int status = 0;
      if (command != 0 && ::waitpid(command, &status, WNOHANG) == command) return exit_code(status);
    } else if (signal > 0 && command != 0) {
      ::kill(command, signal);
    } else if (signal == SIGINT || signal == SIGTERM) {
      return 0;
    }
  }
}

}  // namespace

int run_mount(const Config& config) {
  set_up_log(config);
  const sigset_t signals = awaited_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  auto daemon = Daemon::start(config);
  if (!daemon) return report(daemon.error());
  const int code = run_until_stopped(config, **daemon);
  (*daemon)->stop();
  spdlog::info("stopped");
  return code;
}

}  // namespace rillfs::cmd
