#include "replication/stream/subscriber.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <future>

#include "replication/stream/convert.h"
#include "replication/stream/subscriber_impl.h"

namespace rillfs::stream {

using wire::Task;

Subscriber::Impl::Impl(Node& node, Sink& sink, wire::Transport& transport, FileSystem& files,
                       const Clock& clock, Random& random, const wire::Executor& network,
                       wire::Executor workers, SubscriberOptions options)
    : node_(node),
      sink_(sink),
      transport_(transport),
      files_(files),
      clock_(clock),
      random_(random),
      network_(network),
      workers_(std::move(workers)),
      options_(std::move(options)),
      tasks_(network),
      progress_(clock),
      stopping_(network),
      drained_(network) {
  state_.primary_address = wire::to_text(options_.primary);
  state_.since_ms = clock.wall_ms();
}

void Subscriber::Impl::start() {
  sink_.listen([this](const Sink::Progress& progress) { progressed(progress); });
  tasks_.spawn("subscriber", run());
}

void Subscriber::Impl::stop() {
  sink_.listen({});
  run_on_network([this] {
    stopped_ = true;
    stopping_.notify();
    if (session_) session_->close(make_error(ErrorCode::kClosed, "this node is stopping"));
  });
  tasks_.wait();
  run_on_network([this] { waiting_for_catch_up_.clear(); });  // after what was posted before
}

void Subscriber::Impl::run_on_network(std::function<void()> work) {
  std::promise<void> done;
  boost::asio::post(network_, [&] {
    work();
    done.set_value();
  });
  done.get_future().wait();
}

void Subscriber::Impl::set_state(bool connected, std::string error) {
  Lock lock(mutex_);
  if (state_.connected != connected) state_.since_ms = clock_.wall_ms();
  state_.connected = connected;
  state_.last_error = std::move(error);
}

Task<void> Subscriber::Impl::run() {
  Duration delay = options_.reconnect_delay_min;
  std::string last_error;
  while (!stopped_) {
    auto served = co_await connect_once();
    if (served) delay = options_.reconnect_delay_min;
    if (stopped_) break;
    std::string error;
    {
      Lock lock(mutex_);
      error = state_.last_error;
    }
    // The same failure again and again is said once.
    if (served || error != last_error)
      spdlog::warn("not connected to the primary {}: {}; trying again", wire::to_text(options_.primary),
                   error);
    last_error = error;
    Duration jittered = delay / 2 + Duration(random_.next() % static_cast<std::uint64_t>(delay.count()));
    co_await stopping_.wait_for(jittered);
    delay = std::min(delay * 2, options_.reconnect_delay_max);
  }
}

/// An error if there was no session; otherwise returns when it is over and nothing of it is being worked on.
Task<Result<void>> Subscriber::Impl::connect_once() {
  auto session = co_await open_session();
  if (!session) {
    set_state(false, session.error().message);
    co_return std::move(session).error();
  }
  catalog_ended_ = false;
  session_ = *session;
  if (stopped_) session_->close(make_error(ErrorCode::kClosed, "this node is stopping"));
  tasks_.spawn("session watch",
               [](SessionPtr watched) -> Task<void> { co_await watched->watch(); }(session_));
  auto greeted = co_await greet(session_);
  if (!greeted) {
    session_->close(greeted.error());
    session_.reset();
    set_state(false, greeted.error().message);
    co_return greeted;
  }
  spdlog::info("connected to the primary {}", options_.primary.host + ":" + options_.primary.port);
  set_state(true, "");
  tasks_.spawn("heartbeat replies", send_replies(session_));
  tasks_.spawn("acknowledgements", send_acks(session_));
  co_await receive(session_);
  set_state(false, session_->reason().message);
  progress_.disconnected();
  while (draining_ > 0) co_await drained_.wait();
  for (auto& [id, inbox] : inboxes_)
    for (const auto& frame : inbox->frames) unprocessed_ -= cost(frame);
  inboxes_.clear();
  session_.reset();
  co_return Result<void>();
}

Task<Result<Subscriber::Impl::SessionPtr>> Subscriber::Impl::open_session() {
  using namespace boost::asio::experimental::awaitable_operators;
  auto winner =
      co_await (transport_.connect(options_.primary) || stopping_.wait_for(options_.connect_timeout));
  if (winner.index() == 1)
    co_return make_error(ErrorCode::kClosed, "no answer from " + wire::to_text(options_.primary));
  auto& stream = std::get<0>(winner);
  if (!stream) co_return std::move(stream).error();
  co_return std::make_shared<wire::Session>(std::move(*stream), network_, clock_, options_.session);
}

Task<Result<void>> Subscriber::Impl::greet(SessionPtr session) {
  auto hello = hello_message(node_.id(), node_.membership(), options_.advertise_address);
  auto sent = co_await session->send(hello);
  if (!sent) co_return sent;
  auto frame = co_await session->receive();
  if (!frame) co_return std::move(frame).error();
  if (frame->message.has_refusal()) co_return wire::to_error(frame->message.refusal());
  if (!frame->message.has_hello())
    co_return make_error(ErrorCode::kInvalid,
                         session->peer() + ": answered with something else than a hello");
  auto peer = from_wire(frame->message.hello(), session->peer());
  Result<void> met;
  if (!peer) met = peer.error();
  if (peer) {
    met = co_await wire::run_on(workers_, [&] { return node_.meet_primary(*peer); });
  }
  if (!met) {
    co_await session->refuse(wire::to_refusal_code(met.error().code), met.error().message);
    co_return met;
  }
  primary_epoch_ = peer->epoch;
  epoch_contested_ = node_.membership().contested;
  if (epoch_contested_)
    spdlog::warn(
        "epoch {} has had two primaries, which did not know of each other: what is here and not sure to be "
        "in "
        "the history of {} is parked before it is replaced",
        peer->epoch.value, session->peer());
  {
    Lock lock(mutex_);
    state_.primary_node = peer->node;
  }
  auto databases = co_await wire::run_on(workers_, [this] { return sink_.list(); });
  progress_.connected(databases);
  complete_.clear();
  resync_delay_.clear();
  for (const DatabaseState& database : databases) complete_[database.info.id] = true;
  auto told = co_await send_have(session, databases);
  if (told) session->established();
  co_return told;
}

Task<Result<void>> Subscriber::Impl::send_have(SessionPtr session,
                                               const std::vector<DatabaseState>& databases) {
  std::size_t next = 0;
  do {
    wire::Message message;
    auto* have = message.mutable_have();
    for (std::size_t i = 0; i < wire::kEntriesPerMessage && next < databases.size(); ++i, ++next) {
      auto* database = have->add_databases();
      database->set_id(databases[next].info.id.value);
      to_wire(databases[next].position, database->mutable_logged());
    }
    have->set_last(next == databases.size());
    auto sent = co_await session->send(message);
    if (!sent) co_return sent;
  } while (next < databases.size());
  co_return Result<void>();
}

Task<void> Subscriber::Impl::receive(SessionPtr session) {
  while (!session->closed()) {
    auto frame = co_await session->receive();
    if (!frame) break;
    auto dispatched = dispatch(session, std::move(*frame));
    if (!dispatched) session->close(std::move(dispatched).error());
    while (unprocessed_ > options_.unprocessed_size_max && !session->closed())
      co_await session->changed().wait();
  }
}

Task<void> Subscriber::Impl::send_replies(SessionPtr session) {
  while (!session->closed()) {
    wire::Message message;
    message.mutable_heartbeat_reply()->set_sequence(heartbeat_seen_);
    message.mutable_heartbeat_reply()->set_wall_ms(clock_.wall_ms());
    auto sent = co_await session->send(message);
    if (!sent || session->closed()) break;
    co_await session->closing().wait_for(options_.session.heartbeat_interval);
  }
}

Task<void> Subscriber::Impl::send_acks(SessionPtr session) {
  while (!session->closed()) {
    if (acks_.empty()) {
      co_await session->changed().wait();
      continue;
    }
    // What is reported while this one is being written goes together into the next.
    wire::Message message;
    for (std::size_t i = 0; i < wire::kEntriesPerMessage && !acks_.empty(); ++i) {
      auto* progress = message.mutable_ack()->add_progress();
      progress->set_id(acks_.begin()->first.value);
      progress->set_logged(acks_.begin()->second.logged.txid.value);
      progress->set_applied(acks_.begin()->second.applied.txid.value);
      acks_.erase(acks_.begin());
    }
    auto sent = co_await session->send(message);
    if (!sent) break;
  }
}

SubscriberStatus Subscriber::Impl::status() const {
  SubscriberStatus status;
  {
    Lock lock(mutex_);
    status = state_;
  }
  status.caught_up = is_caught_up_;
  status.unprocessed_size = unprocessed_;
  status.unprocessed_size_peak = unprocessed_peak_;
  status.databases = progress_.databases();
  return status;
}

void Subscriber::Impl::when_caught_up(std::function<void()> done) {
  boost::asio::post(network_, [this, done = std::move(done)]() mutable {
    if (stopped_) return;
    waiting_for_catch_up_.push_back(std::move(done));
    check_caught_up();
  });
}

void Subscriber::Impl::resync(DatabaseId id) {
  boost::asio::post(network_, [this, id] {
    if (stopped_) return;
    resync_wanted_[id] = ++wish_count_;
    // By difference will do: what is compared is what the files have, not what they should have.
    if (session_ && catalog_ended_) ask_for_snapshot(session_, id, false);
  });
}

Subscriber::Subscriber(Node& node, Sink& sink, wire::Transport& transport, FileSystem& files,
                       const Clock& clock, Random& random, wire::Executor network, wire::Executor workers,
                       SubscriberOptions options)
    : impl_(std::make_unique<Impl>(node, sink, transport, files, clock, random, std::move(network),
                                   std::move(workers), std::move(options))) {}
Subscriber::~Subscriber() = default;
void Subscriber::start() { impl_->start(); }
void Subscriber::stop() { impl_->stop(); }
void Subscriber::resync(DatabaseId id) { impl_->resync(id); }
SubscriberStatus Subscriber::status() const { return impl_->status(); }
void Subscriber::when_caught_up(std::function<void()> done) { impl_->when_caught_up(std::move(done)); }

}  // namespace rillfs::stream
