// Goal: every log line is one JSON object on one line, whatever bytes a message holds. Method: a real logger
// that writes into a string.
#include "cmd/json_log.h"

#include <gtest/gtest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace rillfs::cmd {
namespace {

class JsonLog : public testing::Test {
 protected:
  void SetUp() override {
    logger_.set_formatter(make_json_formatter()), logger_.set_level(spdlog::level::trace);
  }
  /// The one line that was written since the last call.
  nlohmann::json line() {
    std::string text = out_.str();
    out_.str("");
    EXPECT_TRUE(text.ends_with('\n'));
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    return nlohmann::json::parse(text, nullptr, false);
  }
  std::ostringstream out_;
  spdlog::logger logger_{"test", std::make_shared<spdlog::sinks::ostream_sink_mt>(out_)};
};

TEST_F(JsonLog, SaysWhenHowBadAndWhat) {
  const auto now = [] {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  };
  const auto before = now();
  logger_.warn("app.db: {} transactions", 3);
  const nlohmann::json said = line();
  EXPECT_EQ(said["message"], "app.db: 3 transactions");
  EXPECT_EQ(said["level"], "warning");
  EXPECT_GE(said["time_ms"].get<std::int64_t>(), before);
  EXPECT_LE(said["time_ms"].get<std::int64_t>(), now());
  EXPECT_EQ(said.size(), 3U);
}

TEST_F(JsonLog, NamesEveryLevel) {
  const std::pair<spdlog::level::level_enum, const char*> levels[] = {
      {spdlog::level::debug, "debug"}, {spdlog::level::info, "info"}, {spdlog::level::err, "error"}};
  for (const auto& [level, name] : levels) {
    logger_.log(level, "x");
    EXPECT_EQ(line()["level"], name);
  }
}

TEST_F(JsonLog, NoMessageBreaksOutOfItsLine) {
  for (const std::string message : {"two\nlines", "\"}, {\"level\": \"fatal\"", "\x1b[31m", "tab\t\r", ""}) {
    logger_.info("{}", message);
    EXPECT_EQ(line()["message"], message);
  }
  logger_.info(std::string_view("zero\0byte", 9));
  EXPECT_EQ(line()["message"], std::string("zero\0byte", 9));
}

TEST_F(JsonLog, BytesThatAreNotUtf8AreReplaced) {
  logger_.info("a\xff.db");
  EXPECT_EQ(line()["message"], "a\xef\xbf\xbd.db");
}

TEST_F(JsonLog, EachSinkGetsAFormatterOfItsOwn) {
  auto one = make_json_formatter();
  auto two = one->clone();
  ASSERT_TRUE(two);
  logger_.set_formatter(std::move(two));
  logger_.info("x");
  EXPECT_EQ(line()["message"], "x");
}

}  // namespace
}  // namespace rillfs::cmd
