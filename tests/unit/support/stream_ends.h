// The two ends of a stream over loopback, and a peer that a test speaks for.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <thread>

#include "replication/base/worker_pool.h"
#include "replication/stream/convert.h"
#include "replication/stream/publisher.h"
#include "replication/stream/subscriber.h"
#include "unit/support/fake_databases.h"

namespace rillfs::testing {

/// Waits until the condition holds; false after ten seconds.
template <class Condition>
bool eventually(Condition holds) {
  for (int i = 0; i < 5000; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

/// What a process has: a network thread and workers.
struct Runtime {
  ~Runtime() {
    workers.join();
    work.reset();
    thread.join();
  }
  boost::asio::io_context network{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{network.get_executor()};
  WorkerPool workers{3};
  std::thread thread{[this] { network.run(); }};
};

struct PrimaryEnd {
  explicit PrimaryEnd(wire::SessionOptions session = {}, std::string port = "0") {
    node = std::move(Node::open(files, directory.path(), random).value());
    node->become_primary(random).value();
    options.listen = {"127.0.0.1", std::move(port)};
    options.session = session;
  }
  ~PrimaryEnd() { stop(); }
  void start() {
    publisher =
        std::make_unique<stream::Publisher>(*node, source, transport, clock, runtime.network.get_executor(),
                                            runtime.workers.get_executor(), options);
    publisher->start().value();
  }
  void stop() {
    if (publisher) publisher->stop();
    publisher.reset();
  }
  TemporaryDirectory directory;
  PosixFileSystem files;
  SystemRandom random;
  SystemClock clock;
  Runtime runtime;
  wire::TcpTransport transport{runtime.network.get_executor()};
  FakeSource source;
  std::unique_ptr<Node> node;
  stream::PublisherOptions options;
  std::unique_ptr<stream::Publisher> publisher;
};

struct ReplicaEnd {
  ReplicaEnd() {
    node = std::move(Node::open(files, directory.path(), random).value());
    node->become_replica().value();
    options.reconnect_delay_min = std::chrono::milliseconds(5);
    options.reconnect_delay_max = std::chrono::milliseconds(20);
    options.retry_delay = std::chrono::milliseconds(5);
  }
  ~ReplicaEnd() { stop(); }
  void start(const wire::Address& primary) {
    options.primary = primary;
    subscriber = std::make_unique<stream::Subscriber>(*node, sink, transport, files, clock, random,
                                                      runtime.network.get_executor(),
                                                      runtime.workers.get_executor(), options);
    subscriber->start();
  }
  void stop() {
    sink.let_go();
    if (subscriber) subscriber->stop();
    subscriber.reset();
  }
  std::string error() { return subscriber->status().last_error; }

  TemporaryDirectory directory;
  PosixFileSystem files;
  SystemRandom random;
  SystemClock clock;
  Runtime runtime;
  wire::TcpTransport transport{runtime.network.get_executor()};
  FakeSink sink{directory.path() + "/spool"};
  std::unique_ptr<Node> node;
  stream::SubscriberOptions options;
  std::unique_ptr<stream::Subscriber> subscriber;
};

/// A connection on which the test says what it likes. Blocking; reads give up after ten seconds.
class RawPeer {
 public:
  explicit RawPeer(const wire::Address& address) : socket_(*context_) {
    using namespace boost::asio::ip;
    socket_.connect({make_address(address.host), static_cast<port_type>(std::stoi(address.port))});
    limit_reads();
  }
  explicit RawPeer(boost::asio::ip::tcp::acceptor& acceptor) : socket_(*context_) {
    acceptor.accept(socket_);
    limit_reads();
  }
  void send(Bytes bytes) {
    boost::system::error_code ignored;
    boost::asio::write(socket_, boost::asio::buffer(bytes.data(), bytes.size()), ignored);
  }
  void send(const wire::Message& message, Bytes payload = {}) {
    Buffer bytes;
    wire::append_frame(message, bytes);
    append_bytes(bytes, payload);
    send(bytes);
  }
  /// The next frame; nothing at the end of the connection.
  std::optional<wire::Frame> receive() {
    for (;;) {
      auto frame = parser_.next();
      if (!frame) return std::nullopt;
      if (*frame) return std::move(**frame);
      auto space = parser_.space();
      ssize_t count = ::recv(socket_.native_handle(), space.data(), space.size(), 0);
      if (count <= 0) {
        timed_out_ = count < 0 && errno == EAGAIN;
        return std::nullopt;
      }
      parser_.filled(static_cast<std::size_t>(count));
    }
  }
  /// The next frame for which `is` holds, passing over the others.
  template <class Is>
  std::optional<wire::Frame> receive_until(Is is) {
    for (;;) {
      auto frame = receive();
      if (!frame || is(frame->message)) return frame;
    }
  }
  /// True once the other side has closed.
  bool wait_closed() {
    while (receive()) {
    }
    return !timed_out_;
  }
  void close() { socket_.close(); }

 private:
  void limit_reads() {
    timeval limit{10, 0};
    setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  std::unique_ptr<boost::asio::io_context> context_ = std::make_unique<boost::asio::io_context>();
  boost::asio::ip::tcp::socket socket_;
  wire::FrameParser parser_;
  bool timed_out_ = false;
};

inline wire::Message hello_of(const Membership& membership, std::uint64_t node = 77) {
  return stream::hello_message(NodeId{node}, membership, "");
}

/// The primary's side of a session with the replica that comes next, until `id` is announced to it.
inline RawPeer accept_replica(boost::asio::ip::tcp::acceptor& acceptor, DatabaseId id) {
  RawPeer raw(acceptor);
  EXPECT_TRUE(raw.receive()->message.has_hello());
  raw.send(hello_of({ClusterId{100}, Epoch{5}, Role::kPrimary}));
  EXPECT_TRUE(raw.receive_until([](auto& m) { return m.has_have(); }));
  stream::DatabaseState state;
  state.info = {id, "app.db", 0644, 0, 0};
  raw.send(stream::announce_message(state));
  return raw;
}

inline wire::Message empty_have() {
  wire::Message message;
  message.mutable_have()->set_last(true);
  return message;
}

}  // namespace rillfs::testing
