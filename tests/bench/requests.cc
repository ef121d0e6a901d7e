// How many requests the kernel sends to the daemon for an operation: the daemon's counters before and after.
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "tests/bench/connection.h"
#include "tests/bench/measurements.h"

namespace rillfs::bench {
namespace {

/// The `requests` object of the status that `command` prints.
nlohmann::json counters(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> output(::popen(command.c_str(), "r"), &::pclose);
  if (!output) give_up(command);
  std::string text;
  char piece[4096];
  for (std::size_t n; (n = std::fread(piece, 1, sizeof piece, output.get())) > 0;) text.append(piece, n);
  const auto status = nlohmann::json::parse(text, nullptr, false);
  if (!status.is_object() || !status.contains("requests")) give_up(command + " printed no counters: " + text);
  return status["requests"];
}

/// A child process that owns the connection, so that this process, which asks the daemon, has no file in the
/// mount open: a descriptor that it passed on to the command would be closed there, and closing is a request.
class Child {
 public:
  explicit Child(const std::function<void(Child&)>& work) {
    if (::pipe(to_child_) < 0 || ::pipe(to_parent_) < 0) give_up("pipe");
    pid_ = ::fork();
    if (pid_ < 0) give_up("fork");
    if (pid_ != 0) return;
    work(*this);
    ::_exit(0);
  }
  /// Parent: waits until the child has come to its next stop, or lets it go on.
  void wait() { receive(to_parent_[0]); }
  void go_on() { send(to_child_[1]); }
  /// Child: stops until the parent lets it go on.
  void stop() {
    send(to_parent_[1]);
    receive(to_child_[0]);
  }
  void end() {
    int status = 0;
    if (::waitpid(pid_, &status, 0) != pid_ || status != 0) give_up("the connection's process failed");
  }

 private:
  static void send(int fd) {
    if (::write(fd, "", 1) != 1) give_up("pipe");
  }
  static void receive(int fd) {
    char byte = 0;
    if (::read(fd, &byte, 1) != 1) give_up("the other process has ended");
  }
  pid_t pid_ = 0;
  int to_child_[2] = {-1, -1};
  int to_parent_[2] = {-1, -1};
};

void operate(Child& child, bool reads, const std::string& path, std::int64_t operations) {
  Connection connection(path);
  if (!reads) connection.run("PRAGMA synchronous=NORMAL");
  Statement statement(connection, reads ? "SELECT id, value FROM t WHERE id=1+(?*7919)%100000"
                                        : "INSERT INTO log(value) VALUES('row '||?)");
  if (reads) {
    Statement(connection, "SELECT sum(length(value)) FROM t").run();  // fills the kernel's cache
  }
  statement.bind(1, 0).run();
  child.stop();
  for (std::int64_t i = 0; i < operations; ++i) statement.bind(1, i).run();
  child.stop();
}

}  // namespace

int requests(const Words& words) {
  const std::int64_t operations = std::stoll(words[2]);
  std::string command;
  for (std::size_t i = 3; i < words.size(); ++i) command += "'" + words[i] + "' ";
  Child child([&](Child& self) { operate(self, words[0] == "select", words[1], operations); });
  child.wait();
  const auto before = counters(command);
  child.go_on();
  child.wait();
  const auto after = counters(command);
  child.go_on();
  child.end();
  nlohmann::json kinds = nlohmann::json::object();
  std::int64_t total = 0;
  for (const auto& [kind, count] : after.items()) {
    const auto more = count.get<std::int64_t>() - before.value(kind, std::int64_t{0});
    if (more != 0) kinds[kind] = more;
    total += more;
  }
  std::cout << nlohmann::json{{"operation", words[0]},
                              {"operations", operations},
                              {"requests", total},
                              {"per_operation", static_cast<double>(total) / static_cast<double>(operations)},
                              {"kinds", kinds}}
            << "\n";
  return 0;
}

}  // namespace rillfs::bench
