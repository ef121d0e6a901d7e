#include "cmd/control_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio.hpp>
#include <list>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "cmd/control_protocol.h"
#include "replication/base/mutex.h"

namespace rillfs::cmd {
namespace {

namespace asio = boost::asio;
using asio::local::stream_protocol;
using boost::system::error_code;
using nlohmann::json;

constexpr std::size_t kSessionsMax = 32;
constexpr std::chrono::seconds kPatience{30};

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

}  // namespace

struct ControlServer::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io, asio::any_io_executor worker_executor)
      : strand(asio::make_strand(io)), worker(std::move(worker_executor)), acceptor(strand) {}

  // Constant once started.
  asio::strand<asio::io_context::executor_type> strand;
  asio::any_io_executor worker;
  std::map<std::string, Handler, std::less<>> handlers;
  std::optional<ControlDirectory> directory;

  // Only on the strand.
  stream_protocol::acceptor acceptor;
  std::list<stream_protocol::socket*> sockets;

  Mutex mutex;
  Condition idle;
  std::size_t running RILL_GUARDED_BY(mutex) = 0;  // coroutines
  bool stopped RILL_GUARDED_BY(mutex) = true;

  void spawn(asio::awaitable<void> (State::*body)(std::shared_ptr<stream_protocol::socket>),
             std::shared_ptr<stream_protocol::socket> socket) {
    {
      Lock lock(mutex);
      ++running;
    }
    asio::co_spawn(strand, (this->*body)(std::move(socket)),
                   [self = shared_from_this()](const std::exception_ptr&) {
                     Lock lock(self->mutex);
                     --self->running;
                     self->idle.notify_all();
                   });
  }

  asio::awaitable<void> accept(std::shared_ptr<stream_protocol::socket>) {
    while (acceptor.is_open()) {
      auto [failed, accepted] = co_await acceptor.async_accept(kNoThrow);
      if (failed == asio::error::operation_aborted || failed == asio::error::bad_descriptor) co_return;
      if (failed) {
        // Out of descriptors, most likely: asking again at once would spin.
        asio::steady_timer pause(strand, std::chrono::milliseconds(100));
        co_await pause.async_wait(kNoThrow);
        continue;
      }
      if (!acceptor.is_open()) co_return;
      if (sockets.size() >= kSessionsMax) continue;  // closes it
      auto socket = std::make_shared<stream_protocol::socket>(std::move(accepted));
      sockets.push_back(socket.get());
      spawn(&State::serve, socket);
    }
  }

  asio::awaitable<void> serve(std::shared_ptr<stream_protocol::socket> socket) {
    asio::steady_timer deadline(strand);
    std::string buffer;
    bool more = true;
    while (more) {
      arm(deadline, socket);
      auto [failed, size] = co_await asio::async_read_until(
          *socket, asio::dynamic_buffer(buffer, kControlRequestSizeMax), '\n', kNoThrow);
      deadline.cancel();
      json reply;
      if (failed == asio::error::not_found) {
        reply = error_reply(make_error(ErrorCode::kInvalid, "the request is longer than 64KiB"));
        more = false;
      } else if (failed) {
        break;
      } else {
        std::string line = buffer.substr(0, size);
        buffer.erase(0, size);
        reply = co_await asio::co_spawn(worker, answer(std::move(line)), asio::use_awaitable);
      }
      std::string text = reply.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
      arm(deadline, socket);
      auto [unsent, sent] = co_await asio::async_write(*socket, asio::buffer(text), kNoThrow);
      deadline.cancel();
      more = more && !unsent;
    }
    sockets.remove(socket.get());
  }

  /// Ends the session if it does not get on with it.
  static void arm(asio::steady_timer& deadline, const std::shared_ptr<stream_protocol::socket>& socket) {
    deadline.expires_after(kPatience);
    deadline.async_wait([weak = std::weak_ptr(socket)](error_code cancelled) {
      error_code ignored;
      if (auto late = weak.lock(); late && !cancelled) late->close(ignored);
    });
  }

  /// Runs on the worker.
  asio::awaitable<json> answer(std::string line) {
    json request = json::parse(line, nullptr, false);
    auto command = request.is_object() ? request.find("command") : request.end();
    if (!request.is_object() || command == request.end() || !command->is_string())
      co_return error_reply(make_error(ErrorCode::kInvalid, "a request is an object with a \"command\""));
    auto handler = handlers.find(command->get_ref<const std::string&>());
    if (handler == handlers.end())
      co_return error_reply(
          make_error(ErrorCode::kUnsupported, "this daemon does not know the command " + command->dump() +
                                                  "; it may be of another version than this program"));
    try {
      co_return handler->second(request);
    } catch (const std::exception& error) {
      co_return error_reply(make_error(ErrorCode::kInvalid, error.what()));
    }
  }

  void close_all() {
    error_code ignored;
    acceptor.close(ignored);
    for (stream_protocol::socket* socket : sockets) socket->close(ignored);
  }

  Result<void> bind(const std::string& data) {
    RILL_ASSIGN(auto opened, ControlDirectory::open(data));
    directory.emplace(std::move(opened));
    stream_protocol::endpoint endpoint(directory->socket_path());
    RILL_TRY(clear_stale(endpoint, data));
    error_code failed;
    acceptor.open(endpoint.protocol(), failed);
    // The mode of the unbound socket is the mode the file gets: it is never there with a wider one.
    if (!failed && fchmod(acceptor.native_handle(), 0600) != 0)
      failed = error_code(errno, boost::system::system_category());
    if (!failed) acceptor.bind(endpoint, failed);
    if (!failed && chmod(endpoint.path().c_str(), 0600) != 0)
      failed = error_code(errno, boost::system::system_category());
    if (!failed) acceptor.listen(asio::socket_base::max_listen_connections, failed);
    if (!failed) return {};
    error_code ignored;
    acceptor.close(ignored);
    return errno_error(failed.value(), "control socket in " + data);
  }

  Result<void> clear_stale(const stream_protocol::endpoint& endpoint, const std::string& data) {
    stream_protocol::socket probe(strand);
    error_code failed;
    probe.connect(endpoint, failed);
    if (!failed)
      return make_error(ErrorCode::kBusy, "another rillfs is running on " + data + "; stop it first");
    if (failed == asio::error::connection_refused && unlink(endpoint.path().c_str()) != 0)
      return errno_error(errno, "remove the old control socket in " + data);
    return {};
  }
};

ControlServer::ControlServer(asio::io_context& io, asio::any_io_executor worker)
    : state_(std::make_shared<State>(io, std::move(worker))) {}

ControlServer::~ControlServer() { stop(); }

void ControlServer::handle(std::string command, Handler handler) {
  state_->handlers.insert_or_assign(std::move(command), std::move(handler));
}

Result<void> ControlServer::start(const std::string& data) {
  RILL_TRY(state_->bind(data));
  {
    Lock lock(state_->mutex);
    state_->stopped = false;
  }
  state_->spawn(&State::accept, nullptr);
  return {};
}

void ControlServer::stop() {
  {
    Lock lock(state_->mutex);
    if (std::exchange(state_->stopped, true)) return;
  }
  unlinkat(state_->directory->fd(), kControlSocketName, 0);
  asio::post(state_->strand, [state = state_] { state->close_all(); });
  Lock lock(state_->mutex);
  while (state_->running != 0) state_->idle.wait(state_->mutex);
}

}  // namespace rillfs::cmd
