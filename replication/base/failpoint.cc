#include "replication/base/failpoint.h"

#ifdef RILLFS_FAILPOINTS

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace rillfs::failpoint {
namespace {

/// What happens at the chosen step.
struct Plan {
  std::size_t step = 0;
  std::string name;
  std::string label;  ///< empty: any
  std::uint32_t first = 1, last = 1;
  bool kills = true;
  bool writes_half = false;
  int errno_value = 0;  ///< 0: reported only
};

[[noreturn]] void refuse(const std::string& text) {
  std::fprintf(stderr, "RILLFS_FAILPOINT: '%s' is none; see 'rillfs failpoints'\n", text.c_str());
  std::_Exit(2);
}

/// Cuts `text` at the last `separator` and returns what was behind it; empty if there is none.
std::string cut(std::string& text, char separator) {
  const auto at = text.rfind(separator);
  if (at == std::string::npos) return {};
  std::string behind = text.substr(at + 1);
  text.resize(at);
  return behind;
}

std::uint32_t number(const std::string& digits, const std::string& text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value == 0) refuse(text);
  return value;
}

void set_action(Plan& plan, const std::string& action, const std::string& text) {
  plan.kills = action.empty();
  plan.writes_half = action == "short";
  if (action == "eio") plan.errno_value = EIO;
  if (action == "enospc" || plan.writes_half) plan.errno_value = ENOSPC;
  if (action == "edquot") plan.errno_value = EDQUOT;
  if (!plan.kills && plan.errno_value == 0 && action != "trace") refuse(text);
}

Plan parse(const std::string& text) {
  Plan plan;
  plan.name = text;
  set_action(plan, cut(plan.name, '='), text);
  // A label has a colon, and then a space.
  if (const auto colon = plan.name.rfind(':'); colon != std::string::npos && plan.name[colon + 1] != ' ') {
    std::string range = cut(plan.name, ':');
    const std::string last = cut(range, '-');
    plan.first = number(range, text);
    plan.last = last.empty() ? plan.first : number(last, text);
  }
  if (const auto at = plan.name.find('@'); at != std::string::npos) {
    plan.label = plan.name.substr(at + 1);
    plan.name.resize(at);
  }
  const auto* found = std::find(std::begin(kNames), std::end(kNames), plan.name);
  if (found == std::end(kNames)) refuse(text);
  plan.step = static_cast<std::size_t>(found - kNames) + 1;
  return plan;
}

const Plan& plan() {
  static const Plan made = [] {
    const char* text = std::getenv("RILLFS_FAILPOINT");
    return text == nullptr || *text == '\0' ? Plan{} : parse(text);
  }();
  return made;
}

std::atomic<std::uint32_t> count{0};

bool is_due() {
  const std::uint32_t now = count.fetch_add(1) + 1;
  return now >= plan().first && now <= plan().last;
}

void report(std::string_view label) {
  std::string line = "failpoint " + plan().name;
  if (!label.empty()) line.append("@").append(label);
  line += "\n";
  // One write, so that lines stay whole; what becomes of it does not matter.
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

}  // namespace

namespace detail {

const std::size_t chosen = plan().step;

void reached() {
  if (!is_due()) return;
  report({});
  if (plan().kills) die();
}

Result<void> attempted(std::string_view label) {
  if (!plan().label.empty() && plan().label != label) return {};
  if (!is_due()) return {};
  report(label);
  if (plan().kills) die();
  if (plan().errno_value == 0) return {};
  return errno_error(plan().errno_value, std::string(label) + " (failpoint " + plan().name + ")");
}

}  // namespace detail

bool writes_half() { return plan().writes_half; }

}  // namespace rillfs::failpoint

#endif
