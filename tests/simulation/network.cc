#include "simulation/network.h"

#include <algorithm>
#include <array>

namespace rillfs::simulation {
namespace {

using wire::Task;
constexpr std::size_t kPipeSize = 64 << 10;
/// Nobody is waited for longer than this without looking again.
constexpr Duration kLook = std::chrono::seconds(1);

Error ended(const std::string& peer) {
  return make_error(ErrorCode::kClosed, peer + ": the connection is gone");
}

}  // namespace

/// One direction: what `to` has not read yet.
struct Network::Pipe {
  struct Piece {
    Monotonic arrives;
    Buffer bytes;
    std::size_t read = 0;
  };
  std::deque<Piece> pieces;
  std::size_t size = 0;
  std::shared_ptr<wire::Signal> readable;  ///< its reader's executor
  std::shared_ptr<wire::Signal> writable;  ///< its writer's
};

struct Network::Connection {
  std::array<std::string, 2> names;
  std::array<Pipe, 2> pipes;  ///< pipes[i] is what names[i] reads
  bool closed = false;
};

class Network::End final : public wire::Stream {
 public:
  End(Network& network, std::shared_ptr<Connection> connection, std::size_t side)
      : network_(network), connection_(std::move(connection)), side_(side) {}
  ~End() override { network_.close(*connection_); }

  Task<Result<std::size_t>> read_some(MutableBytes into) override {
    Pipe& pipe = connection_->pipes[side_];
    for (;;) {
      if (connection_->closed) co_return ended(peer());
      const bool silent = network_.is_cut(connection_->names[0], connection_->names[1]);
      if (!pipe.pieces.empty() && !silent) {
        const Duration wait = pipe.pieces.front().arrives - network_.clock_.monotonic();
        if (wait <= Duration{}) co_return take(pipe, into);
        co_await pipe.readable->wait_for(wait);
      } else {
        co_await pipe.readable->wait_for(kLook);
      }
    }
  }
  Task<Result<void>> write(Bytes bytes) override {
    Pipe& pipe = connection_->pipes[1 - side_];
    while (!bytes.empty()) {
      if (connection_->closed) co_return ended(peer());
      if (pipe.size >= kPipeSize) {
        co_await pipe.writable->wait_for(kLook);
        continue;
      }
      const std::size_t size = std::min<std::size_t>(bytes.size(), 1 + network_.random_.next() % (16 << 10));
      put(pipe, bytes.first(size));
      bytes = bytes.subspan(size);
    }
    co_return Result<void>();
  }
  void close() override { network_.close(*connection_); }
  std::string peer() const override { return connection_->names[1 - side_]; }

 private:
  void put(Pipe& pipe, Bytes bytes) {
    Buffer copy(bytes.begin(), bytes.end());
    if (network_.damage_once_in_ != 0 && network_.random_.next() % network_.damage_once_in_ == 0)
      copy[network_.random_.next() % copy.size()] ^=
          static_cast<std::uint8_t>(1 << network_.random_.next() % 8);
    Monotonic arrives = network_.arrival();
    if (!pipe.pieces.empty()) arrives = std::max(arrives, pipe.pieces.back().arrives);
    pipe.size += copy.size();
    pipe.pieces.push_back({arrives, std::move(copy), 0});
    pipe.readable->notify();
  }
  std::size_t take(Pipe& pipe, MutableBytes into) {
    auto& piece = pipe.pieces.front();
    const std::size_t most = std::min(into.size(), piece.bytes.size() - piece.read);
    const std::size_t size = network_.random_.next() % 4 == 0 ? 1 + network_.random_.next() % most : most;
    std::copy_n(piece.bytes.begin() + static_cast<std::ptrdiff_t>(piece.read), size, into.begin());
    piece.read += size;
    pipe.size -= size;
    if (piece.read == piece.bytes.size()) pipe.pieces.pop_front();
    pipe.writable->notify();
    return size;
  }

  Network& network_;
  const std::shared_ptr<Connection> connection_;
  const std::size_t side_;
};

class Network::SimulatedListener final : public wire::Listener {
 public:
  SimulatedListener(Network& network, std::string name, wire::Executor executor)
      : network_(network), name_(std::move(name)), executor_(executor), arrived_(std::move(executor)) {
    network_.listeners_[name_] = this;
  }
  ~SimulatedListener() override { close(); }

  Task<Result<std::unique_ptr<wire::Stream>>> accept() override {
    for (;;) {
      if (closed_) co_return ended(name_);
      if (!waiting_.empty()) {
        auto stream = std::move(waiting_.front());
        waiting_.pop_front();
        co_return std::move(stream);
      }
      co_await arrived_.wait_for(kLook);
    }
  }
  void close() override {
    if (closed_) return;
    closed_ = true;
    network_.listeners_.erase(name_);
    waiting_.clear();
    arrived_.notify();
  }
  wire::Address address() const override { return {name_, "1"}; }

  void arrive(std::unique_ptr<wire::Stream> stream) {
    waiting_.push_back(std::move(stream));
    arrived_.notify();
  }
  const wire::Executor& executor() const { return executor_; }

 private:
  Network& network_;
  const std::string name_;
  const wire::Executor executor_;
  wire::Signal arrived_;
  bool closed_ = false;
  std::deque<std::unique_ptr<wire::Stream>> waiting_;
};

class Network::SimulatedTransport final : public wire::Transport {
 public:
  SimulatedTransport(Network& network, std::string name, wire::Executor executor)
      : network_(network), name_(std::move(name)), executor_(std::move(executor)) {}

  Task<Result<std::unique_ptr<wire::Stream>>> connect(const wire::Address& address) override {
    wire::Signal never(executor_);
    co_await never.wait_for(network_.arrival() - network_.clock_.monotonic());
    while (network_.is_cut(name_, address.host)) co_await never.wait_for(kLook);
    auto listener = network_.listeners_.find(address.host);
    if (listener == network_.listeners_.end())
      co_return make_error(ErrorCode::kClosed, address.host + ": nobody listens there");
    auto connection = std::make_shared<Connection>();
    connection->names = {name_, address.host};
    const std::array<wire::Executor, 2> executors{executor_, listener->second->executor()};
    for (std::size_t side = 0; side < 2; ++side) {
      connection->pipes[side].readable = std::make_shared<wire::Signal>(executors[side]);
      connection->pipes[side].writable = std::make_shared<wire::Signal>(executors[1 - side]);
    }
    network_.connections_.push_back(connection);
    listener->second->arrive(std::make_unique<End>(network_, connection, 1));
    co_return std::unique_ptr<wire::Stream>(std::make_unique<End>(network_, connection, 0));
  }
  Result<std::unique_ptr<wire::Listener>> listen(const wire::Address&) override {
    return std::unique_ptr<wire::Listener>(std::make_unique<SimulatedListener>(network_, name_, executor_));
  }

 private:
  Network& network_;
  const std::string name_;
  const wire::Executor executor_;
};

std::unique_ptr<wire::Transport> Network::transport(const std::string& name, wire::Executor executor) {
  return std::make_unique<SimulatedTransport>(*this, name, std::move(executor));
}

Monotonic Network::arrival() {
  const auto most = static_cast<std::uint64_t>(latency_max_.count());
  return clock_.monotonic() + Duration(random_.next() % (most + 1));
}

void Network::close(Connection& connection) {
  if (std::exchange(connection.closed, true)) return;
  for (Pipe& pipe : connection.pipes) {
    pipe.readable->notify();
    pipe.writable->notify();
  }
}

void Network::reset(const std::string& one, const std::string& other) {
  for (const auto& weak : connections_) {
    auto connection = weak.lock();
    if (connection && link(connection->names[0], connection->names[1]) == link(one, other))
      close(*connection);
  }
}

void Network::disconnect(const std::string& name) {
  std::erase_if(connections_, [](const auto& weak) { return weak.expired(); });
  for (const auto& weak : connections_) {
    auto connection = weak.lock();
    if (connection && (connection->names[0] == name || connection->names[1] == name)) close(*connection);
  }
}

void Network::cut(const std::string& one, const std::string& other, bool is_cut) {
  if (is_cut) {
    cut_.insert(link(one, other));
  } else {
    cut_.erase(link(one, other));
  }
}

void Network::heal() {
  cut_.clear();
  damage_once_in_ = 0;
  latency_max_ = std::chrono::milliseconds(2);
}

}  // namespace rillfs::simulation
