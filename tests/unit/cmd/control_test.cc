// Goal: requests and replies get through, and nothing a client sends harms the daemon. Method: a real server
// on a real socket, with real threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio.hpp>
#include <nlohmann/json.hpp>
#include <thread>

#include "cmd/control_client.h"
#include "cmd/control_protocol.h"
#include "cmd/control_server.h"
#include "replication/base/worker_pool.h"
#include "temporary_directory.h"

namespace rillfs::cmd {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class Control : public testing::Test {
 protected:
  void SetUp() override {
    server.handle("echo", [](const json& request) { return json{{"said", request.value("say", "")}}; });
    server.handle("throw", [](const json&) -> json { throw std::runtime_error("oh no"); });
    server.handle("slow", [](const json&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      return json::object();
    });
    network = std::thread([this] { io.run(); });
  }
  void TearDown() override {
    server.stop();
    keep.reset();
    network.join();
    worker.join();
  }
  std::string error_of(const json& request, std::chrono::milliseconds timeout = kControlTimeout) {
    auto reply = ask_daemon(directory.path(), request, timeout);
    return reply ? "no error" : reply.error().message;
  }
  /// Sends bytes as they are; what came back.
  std::string raw(const std::string& bytes) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{AF_UNIX, {}};
    (directory / "rillfs.sock").copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    for (std::size_t at = 0; at < bytes.size();) {
      ssize_t sent = send(fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) break;
      at += static_cast<std::size_t>(sent);
    }
    shutdown(fd, SHUT_WR);
    std::string out;
    char chunk[4096];
    for (ssize_t got; (got = recv(fd, chunk, sizeof chunk, 0)) > 0;)
      out.append(chunk, static_cast<std::size_t>(got));
    close(fd);
    return out;
  }

  TemporaryDirectory directory;
  boost::asio::io_context io;
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> keep{
      io.get_executor()};
  WorkerPool worker{2};
  ControlServer server{io, worker.get_executor()};
  std::thread network;
};

TEST_F(Control, AnswersRequests) {
  ASSERT_TRUE(server.start(directory.path()));
  EXPECT_EQ(ask_daemon(directory.path(), {{"command", "echo"}, {"say", "hi"}}).value()["said"], "hi");
}

TEST_F(Control, SocketIsForItsOwnerOnly) {
  ASSERT_TRUE(server.start(directory.path()));
  struct stat info {};
  ASSERT_EQ(stat((directory / "rillfs.sock").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(Control, WorksInDirectoriesLongerThanASocketAddress) {
  std::string deep = directory / std::string(200, 'd') + "/" + std::string(200, 'e');
  std::filesystem::create_directories(deep);
  ASSERT_TRUE(server.start(deep));
  EXPECT_EQ(ask_daemon(deep, {{"command", "echo"}, {"say", "hi"}}).value()["said"], "hi");
}

TEST_F(Control, ReportsUnknownCommandsAndFailures) {
  ASSERT_TRUE(server.start(directory.path()));
  EXPECT_THAT(error_of({{"command", "dance"}}), HasSubstr("dance"));
  EXPECT_THAT(error_of({{"command", "throw"}}), HasSubstr("oh no"));
  EXPECT_THAT(error_of({{"command", 5}}), HasSubstr("object"));
}

TEST_F(Control, SurvivesGarbage) {
  ASSERT_TRUE(server.start(directory.path()));
  EXPECT_THAT(raw("not json\n"), HasSubstr("error"));
  EXPECT_THAT(raw("[1,2]\n"), HasSubstr("error"));
  EXPECT_THAT(raw(std::string(60'000, '[') + "\n"), HasSubstr("error"));
  EXPECT_THAT(raw(std::string("{\"command\":\"\xff\xfe\"}\n\0\n", 19)), HasSubstr("error"));
  EXPECT_EQ(raw("{\"command\":"), "");
  EXPECT_EQ(error_of({{"command", "echo"}}), "no error");
}

TEST_F(Control, RefusesRequestsThatAreTooLong) {
  ASSERT_TRUE(server.start(directory.path()));
  EXPECT_THAT(error_of({{"command", "echo"}, {"say", std::string(kControlRequestSizeMax, 'x')}}),
              testing::AnyOf(HasSubstr("longer than 64KiB"), HasSubstr("closed"), HasSubstr("send"),
                             HasSubstr("receive")));
  EXPECT_EQ(error_of({{"command", "echo"}}), "no error");
}

TEST_F(Control, AnswersSeveralRequestsOnOneConnection) {
  ASSERT_TRUE(server.start(directory.path()));
  EXPECT_EQ(raw("{\"command\":\"echo\",\"say\":\"1\"}\n{\"command\":\"echo\",\"say\":\"2\"}\n"),
            "{\"said\":\"1\"}\n{\"said\":\"2\"}\n");
}

TEST_F(Control, ClientGivesUpInTime) {
  ASSERT_TRUE(server.start(directory.path()));
  EXPECT_THAT(error_of({{"command", "slow"}}, std::chrono::milliseconds(50)), HasSubstr("does not answer"));
}

TEST_F(Control, SaysThatNoDaemonRuns) {
  EXPECT_THAT(error_of({{"command", "echo"}}), HasSubstr("no rillfs is running on " + directory.path()));
  EXPECT_THAT(ask_daemon(directory / "none", json::object()).error().message,
              HasSubstr("no rillfs is running"));
}

TEST_F(Control, ReplacesASocketThatWasLeftBehind) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{AF_UNIX, {}};
  (directory / "rillfs.sock").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  close(fd);
  EXPECT_THAT(error_of({{"command", "echo"}}), HasSubstr("left behind"));
  ASSERT_TRUE(server.start(directory.path()));
  EXPECT_EQ(error_of({{"command", "echo"}}), "no error");
}

TEST_F(Control, DoesNotReplaceASocketThatIsAnswered) {
  ASSERT_TRUE(server.start(directory.path()));
  ControlServer second(io, worker.get_executor());
  auto started = second.start(directory.path());
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::kBusy);
  EXPECT_EQ(error_of({{"command", "echo"}}), "no error");
}

TEST_F(Control, StopEndsIdleSessionsAndRemovesTheSocket) {
  ASSERT_TRUE(server.start(directory.path()));
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{AF_UNIX, {}};
  (directory / "rillfs.sock").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(error_of({{"command", "echo"}}), "no error");
  server.stop();
  EXPECT_FALSE(std::filesystem::exists(directory / "rillfs.sock"));
  close(fd);
}

}  // namespace
}  // namespace rillfs::cmd
