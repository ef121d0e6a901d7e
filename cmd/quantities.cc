#include "cmd/quantities.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>

namespace rillfs::cmd {
namespace {

constexpr std::uint64_t kSizeMax = ~std::uint64_t{0} >> 1;
constexpr double kDurationMaxMs = 100.0 * 366 * 24 * 3600 * 1000;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// Descending and with the canonical spelling of each size first: size_text() takes the first that divides.
constexpr std::uint64_t kKi = 1024;
constexpr std::array kSizeUnits = {
    Unit{"TiB", kKi* kKi* kKi* kKi},
    Unit{"GiB", kKi* kKi* kKi},
    Unit{"MiB", kKi* kKi},
    Unit{"KiB", kKi},
    Unit{"B", 1},
    Unit{"T", kKi* kKi* kKi* kKi},
    Unit{"G", kKi* kKi* kKi},
    Unit{"M", kKi* kKi},
    Unit{"K", kKi},
    Unit{"TB", 1'000'000'000'000ull},
    Unit{"GB", 1'000'000'000ull},
    Unit{"MB", 1'000'000ull},
    Unit{"KB", 1'000ull},
    Unit{"", 1},
};
constexpr std::array kDurationUnits = {
    Unit{"d", 86'400'000}, Unit{"h", 3'600'000}, Unit{"m", 60'000}, Unit{"s", 1000}, Unit{"ms", 1},
};

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

template <std::size_t N>
std::optional<std::uint64_t> factor_of(std::string_view unit, const std::array<Unit, N>& units) {
  for (const Unit& candidate : units) {
    if (lower(candidate.name) == lower(unit)) return candidate.factor;
  }
  return std::nullopt;
}

/// The text split where its number ends; blanks between the two are skipped.
std::pair<std::string_view, std::string_view> split_number(std::string_view text) {
  std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  std::string_view unit = text.substr(end);
  unit.remove_prefix(std::min(unit.find_first_not_of(' '), unit.size()));
  return {text.substr(0, end), unit};
}

template <class T>
std::optional<T> whole(std::string_view text, int base = 10) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Error refused(std::string_view text, std::string_view accepted) {
  return make_error(ErrorCode::kInvalid, "'" + std::string(text) + "' is not " + std::string(accepted));
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  constexpr std::string_view kAccepted =
      "a size; write a whole number and a unit, like 64KiB, 256MiB or 4GiB";
  auto [digits, unit] = split_number(text);
  auto number = whole<std::uint64_t>(digits);
  auto factor = factor_of(unit, kSizeUnits);
  if (!number || !factor || *number > kSizeMax / *factor) return refused(text, kAccepted);
  return *number * *factor;
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  constexpr std::string_view kAccepted = "a duration; write a number and a unit, like 500ms, 5s, 10m or 24h";
  if (text == "0") return std::chrono::milliseconds(0);
  auto [digits, unit] = split_number(text);
  double number = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  auto factor = factor_of(unit, kDurationUnits);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size() || !factor)
    return refused(text, kAccepted);
  double ms = number * static_cast<double>(*factor);
  if (ms > kDurationMaxMs) return refused(text, kAccepted);
  // A thousandth against binary fractions: 1.001s is 1001 ms, not 1000.
  return std::chrono::milliseconds(static_cast<std::int64_t>(ms + 0.001));
}

Result<HostPort> parse_host_port(std::string_view text) {
  constexpr std::string_view kAccepted =
      "an address; write HOST:PORT, like 10.0.0.5:20202 or [::1]:20202, 0.0.0.0 to listen everywhere";
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return refused(text, kAccepted);
  std::string_view host = text.substr(0, colon);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  bool clean = std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' || c == ':' || c == '%';
  });
  bool has_colon = host.find(':') != std::string_view::npos;
  auto port = whole<std::uint16_t>(text.substr(colon + 1));
  if (host.empty() || host.size() > 255 || !clean || has_colon != bracketed || !port)
    return refused(text, kAccepted);
  return HostPort{std::string(host), *port};
}

Result<bool> parse_switch(std::string_view text) {
  std::string value = lower(text);
  for (std::string_view yes : {"true", "yes", "on", "1"})
    if (value == yes) return true;
  for (std::string_view no : {"false", "no", "off", "0"})
    if (value == no) return false;
  return refused(text, "a switch; write true or false");
}

Result<std::uint32_t> parse_number(std::string_view text, std::uint32_t max) {
  auto number = whole<std::uint32_t>(text);
  if (!number || *number > max) return refused(text, "a whole number of at most " + std::to_string(max));
  return *number;
}

Result<std::uint32_t> parse_mode(std::string_view text) {
  auto mode = whole<std::uint32_t>(text, 8);
  if (!mode || *mode > 07777) return refused(text, "a file mode; write it in octal, like 0640");
  return *mode;
}

std::string size_text(std::uint64_t bytes) {
  for (const Unit& unit : kSizeUnits) {
    if (bytes >= unit.factor && bytes % unit.factor == 0)
      return std::to_string(bytes / unit.factor) + std::string(unit.name);
  }
  return "0";
}

std::string duration_text(std::chrono::milliseconds duration) {
  auto ms = static_cast<std::uint64_t>(duration.count());
  for (const Unit& unit : kDurationUnits) {
    if (unit.name != "d" && ms >= unit.factor && ms % unit.factor == 0)
      return std::to_string(ms / unit.factor) + std::string(unit.name);
  }
  return "0";
}

std::string to_text(const HostPort& address) {
  bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

}  // namespace rillfs::cmd
