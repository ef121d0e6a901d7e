// The network as sessions see it: ordered byte streams between nodes.
//
// Production is TCP on Boost.Asio; TLS wraps the same interface, and a simulator implements it in memory.
// Threads: network only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/wire/async.h"

namespace rillfs::wire {

struct Address {
  std::string host;
  std::string port;
};

/// `HOST:PORT`, with an IPv6 host in brackets. kInvalid otherwise. An empty host means every interface.
Result<Address> parse_address(std::string_view text);
std::string to_text(const Address& address);

/// One connection. One read and one write may be under way at a time.
class Stream {
 public:
  virtual ~Stream() = default;
  /// At least one byte; kClosed when the peer or close() has ended the connection.
  virtual Task<Result<std::size_t>> read_some(MutableBytes into) = 0;
  /// All of it, or an error. `bytes` must live until then.
  virtual Task<Result<void>> write(Bytes bytes) = 0;
  /// Ends reads and writes under way with kClosed.
  virtual void close() = 0;
  /// The peer's address, for people.
  virtual std::string peer() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;
  virtual Task<Result<std::unique_ptr<Stream>>> accept() = 0;
  virtual void close() = 0;
  /// Where it really listens (the port, when 0 was asked for).
  virtual Address address() const = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  /// `address` must live until then. May be cancelled through the coroutine's cancellation slot.
  virtual Task<Result<std::unique_ptr<Stream>>> connect(const Address& address) = 0;
  /// Blocks on name resolution. Threads: any.
  virtual Result<std::unique_ptr<Listener>> listen(const Address& address) = 0;
};

/// TCP with TCP_NODELAY and keepalive.
class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(Executor network) : network_(std::move(network)) {}
  Task<Result<std::unique_ptr<Stream>>> connect(const Address& address) override;
  Result<std::unique_ptr<Listener>> listen(const Address& address) override;

 private:
  Executor network_;
};

}  // namespace rillfs::wire
