// TCP on Boost.Asio.
#include <netinet/tcp.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include "replication/wire/transport.h"

namespace rillfs::wire {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

/// Bytes that the kernel takes beyond what it has sent. Little, so that a commit does not queue behind
/// megabytes of another database's snapshot on a slow link.
constexpr int kUnsentMax = 128 * 1024;

Error network_error(const boost::system::error_code& code, const std::string& what) {
  bool closed = code == asio::error::eof || code == asio::error::operation_aborted ||
                code == asio::error::connection_reset || code == asio::error::broken_pipe ||
                code == asio::error::bad_descriptor;
  bool system = code.category() == boost::system::system_category();
  return Error{closed ? ErrorCode::kClosed : ErrorCode::kIo, system ? code.value() : 0,
               what + ": " + (code == asio::error::eof ? "the peer closed the connection" : code.message())};
}

std::string text_of(const tcp::endpoint& endpoint) {
  return to_text(Address{endpoint.address().to_string(), std::to_string(endpoint.port())});
}

class TcpStream final : public Stream {
 public:
  explicit TcpStream(tcp::socket socket) : socket_(std::move(socket)) {
    boost::system::error_code ignored;  // options only tune; a connection without them still works
    socket_.set_option(tcp::no_delay(true), ignored);
    socket_.set_option(asio::socket_base::keep_alive(true), ignored);
    int unsent_max = kUnsentMax;
    (void)setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_max, sizeof unsent_max);
    auto endpoint = socket_.remote_endpoint(ignored);
    peer_ = ignored ? std::string("unknown") : text_of(endpoint);
  }

  Task<Result<std::size_t>> read_some(MutableBytes into) override {
    auto [error, count] = co_await socket_.async_read_some(asio::buffer(into.data(), into.size()), kToken);
    if (error) co_return network_error(error, peer_);
    co_return count;
  }

  Task<Result<void>> write(Bytes bytes) override {
    auto [error, count] =
        co_await asio::async_write(socket_, asio::buffer(bytes.data(), bytes.size()), kToken);
    if (error) co_return network_error(error, peer_);
    co_return Result<void>();
  }

  void close() override {
    boost::system::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
  }

  std::string peer() const override { return peer_; }

 private:
  tcp::socket socket_;
  std::string peer_;
};

class TcpListener final : public Listener {
 public:
  TcpListener(tcp::acceptor acceptor, Address address)
      : acceptor_(std::move(acceptor)), address_(std::move(address)) {}

  Task<Result<std::unique_ptr<Stream>>> accept() override {
    auto [error, socket] = co_await acceptor_.async_accept(kToken);
    if (error) co_return network_error(error, "accept on " + to_text(address_));
    co_return std::unique_ptr<Stream>(std::make_unique<TcpStream>(std::move(socket)));
  }

  void close() override {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
  }

  Address address() const override { return address_; }

 private:
  tcp::acceptor acceptor_;
  Address address_;
};

}  // namespace

Task<Result<std::unique_ptr<Stream>>> TcpTransport::connect(const Address& address) {
  std::string what = "connect to " + to_text(address);
  tcp::resolver resolver(network_);
  auto [unresolved, endpoints] = co_await resolver.async_resolve(address.host, address.port, kToken);
  if (unresolved) co_return network_error(unresolved, what);
  tcp::socket socket(network_);
  auto [refused, endpoint] = co_await asio::async_connect(socket, endpoints, kToken);
  if (refused) co_return network_error(refused, what);
  co_return std::unique_ptr<Stream>(std::make_unique<TcpStream>(std::move(socket)));
}

Result<std::unique_ptr<Listener>> TcpTransport::listen(const Address& address) {
  std::string what = "listen on " + to_text(address);
  boost::system::error_code error;
  tcp::resolver resolver(network_);
  auto endpoints = resolver.resolve(address.host, address.port, tcp::resolver::passive, error);
  if (error) return network_error(error, what);
  tcp::acceptor acceptor(network_);
  // Of several addresses the first that can be had: an empty host resolves to the wildcard of each family.
  for (const auto& entry : endpoints) {
    boost::system::error_code ignored;
    acceptor.close(ignored);
    acceptor.open(entry.endpoint().protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(entry.endpoint(), error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (!error) break;
  }
  if (error) return network_error(error, what);
  Address bound{address.host, std::to_string(acceptor.local_endpoint().port())};
  return std::unique_ptr<Listener>(std::make_unique<TcpListener>(std::move(acceptor), std::move(bound)));
}

}  // namespace rillfs::wire
