// Goal: what the mount rests on is agreed with the kernel, and the same with every libfuse.
// Method: a session whose device is a socket; we play the kernel, offer everything, and read the answer.
#include "fs/mount/libfuse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "fs/mount/requests.h"
#include "unit/fs/captured_sqlite.h"

namespace rillfs::mount {
namespace {

/// What libfuse answers to a kernel that has every capability there is.
class Init : public testing::Test {
 protected:
  explicit Init(bool passthrough = false) {
    if (!passthrough) passthrough_.refuse("the configuration says hold");
  }
  void SetUp() override {
    ASSERT_TRUE(primary_.start());
    const int root = ::open(primary_.tree().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    tree_ = std::move(Tree::open(primary_.databases(), passthrough_, root).value());
    context_.reset(new RequestContext{*tree_, passthrough_, {}});
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends_), 0);
    const char* argv[] = {"rillfs", nullptr};
    fuse_args args = FUSE_ARGS_INIT(1, const_cast<char**>(argv));
    session_ = fuse_session_new(&args, &request_table(), sizeof(fuse_lowlevel_ops), context_.get());
    fuse_opt_free_args(&args);
    ASSERT_NE(session_, nullptr);
    ASSERT_TRUE(mount_session(session_, "/dev/fd/" + std::to_string(ends_[0])));
    negotiate();
  }
  void TearDown() override {
    fuse_session_destroy(session_);  // closes its end
    ::close(ends_[1]);
  }

  std::uint64_t agreed() const { return answer_.flags | std::uint64_t{answer_.flags2} << 32; }

  fuse_init_out answer_{};
  Passthrough passthrough_;

 private:
  void negotiate() {
    struct {
      fuse_in_header header;
      fuse_init_in offer;
    } request{};
    request.header = {.len = sizeof request, .opcode = FUSE_INIT, .unique = 1};
    request.offer = {.major = FUSE_KERNEL_VERSION,
                     .minor = FUSE_KERNEL_MINOR_VERSION,
                     .max_readahead = 128 * 1024,
                     .flags = ~0U,
                     .flags2 = ~0U};
    fuse_buf buffer{};
    buffer.mem = &request;
    buffer.size = sizeof request;
    fuse_session_process_buf(session_, &buffer);
    struct {
      fuse_out_header header;
      fuse_init_out answer;
    } reply{};
    ASSERT_EQ(::recv(ends_[1], &reply, sizeof reply, MSG_DONTWAIT), static_cast<ssize_t>(sizeof reply));
    ASSERT_EQ(reply.header.error, 0);
    answer_ = reply.answer;
  }

  test::TemporaryDirectory directory_;
  PosixFileSystem files_;
  test::Primary primary_{files_, directory_.file("data")};
  std::unique_ptr<Tree> tree_;
  std::unique_ptr<RequestContext> context_;
  int ends_[2] = {-1, -1};
  fuse_session* session_ = nullptr;
};

TEST_F(Init, AgreesOnExactlyWhatTheMountRestsOn) {
  // 3.14 knows this one but does not tell the kernel.
  const std::uint64_t parallel =
      fuse_version() < 317 ? agreed() & FUSE_PARALLEL_DIROPS : FUSE_PARALLEL_DIROPS;
  EXPECT_EQ(agreed(), parallel | FUSE_EXPLICIT_INVAL_DATA | FUSE_CACHE_SYMLINKS | FUSE_ASYNC_READ |
                          FUSE_ASYNC_DIO | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_INIT_EXT)
      << std::hex << agreed();
}

TEST_F(Init, SaysWhyNothingIsPassedThrough) {
  EXPECT_FALSE(passthrough_.possible());
  EXPECT_EQ(passthrough_.why_not(), "the configuration says hold");
}

class InitWithPassthrough : public Init {
 protected:
  InitWithPassthrough() : Init(true) {}
};

TEST_F(InitWithPassthrough, AgreesOnItWhereLibfuseCan) {
  constexpr std::uint64_t kPassthrough = std::uint64_t{1} << 37;  // newer than some <linux/fuse.h>
  EXPECT_EQ((agreed() & kPassthrough) != 0, fuse_version() >= 317);
  EXPECT_EQ(passthrough_.possible(), fuse_version() >= 317) << passthrough_.why_not();
  EXPECT_EQ(passthrough_.why_not().empty(), passthrough_.possible());
}

TEST_F(Init, NoRequestIsLargerThanItsBuffer) {
  EXPECT_LE(answer_.max_write, kRequestSizeMax);
  EXPECT_LE(std::uint64_t{answer_.max_pages} * static_cast<std::uint64_t>(::getpagesize()), kRequestSizeMax);
}

TEST_F(Init, TimesHaveNanoseconds) { EXPECT_EQ(answer_.time_gran, 1U); }

TEST(Libfuse, LeavesNothingOfFusermountInTheEnvironment) {
  ::setenv("_FUSE_COMMFD", "5", 1);
  const char* argv[] = {"rillfs", nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, const_cast<char**>(argv));
  fuse_session* session = fuse_session_new(&args, &request_table(), sizeof(fuse_lowlevel_ops), nullptr);
  fuse_opt_free_args(&args);
  EXPECT_FALSE(mount_session(session, "/dev/fd/9999"));
  fuse_session_destroy(session);
  EXPECT_EQ(::getenv("_FUSE_COMMFD"), nullptr);
}

TEST(Libfuse, SaysItsVersion) {
  EXPECT_THAT(libfuse_version(), testing::MatchesRegex("3\\.[0-9]+\\.[0-9]+, (bundled|the system's).*"));
}

}  // namespace
}  // namespace rillfs::mount
