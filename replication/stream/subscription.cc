#include "replication/stream/subscription.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "replication/stream/convert.h"

namespace rillfs::stream {

using wire::Task;

namespace {

Error unexpected(const std::string& peer) {
  return make_error(ErrorCode::kInvalid, peer + ": sent a message that is not expected here");
}

}  // namespace

bool ChangedDatabases::put(DatabaseId id) {
  Lock lock(mutex_);
  if (!known_.insert(id).second) return false;
  order_.push_back(id);
  return order_.size() == 1;
}

std::vector<DatabaseId> ChangedDatabases::take() {
  Lock lock(mutex_);
  known_.clear();
  return std::exchange(order_, {});
}

Subscription::Subscription(Environment environment, std::shared_ptr<wire::Session> session)
    : environment_(std::move(environment)), session_(std::move(session)) {}

void Subscription::changed(DatabaseId id) {
  if (!changed_.put(id)) return;
  boost::asio::post(environment_.network, [session = session_] { session->changed().notify(); });
}

Task<void> Subscription::run() {
  auto self = shared_from_this();
  environment_.tasks.spawn("session watch",
                           [](auto session) -> Task<void> { co_await session->watch(); }(session_));
  auto greeted = co_await greet();
  if (greeted) {
    spdlog::info("replica {} connected from {}", to_hex(record_->node().value), session_->peer());
    environment_.tasks.spawn("feed", [](auto me) -> Task<void> { co_await me->feed(); }(self));
    environment_.tasks.spawn("heartbeats",
                             [](auto me) -> Task<void> { co_await me->send_heartbeats(); }(self));
    co_await listen();
    record_->gone();
    spdlog::info("replica {} disconnected: {}", to_hex(record_->node().value), session_->reason().message);
  } else {
    spdlog::warn("connection from {} ended: {}", session_->peer(), greeted.error().message);
    session_->close(greeted.error());
  }
}

Task<Result<void>> Subscription::greet() {
  auto frame = co_await session_->receive();
  if (!frame) co_return std::move(frame).error();
  if (!frame->message.has_hello()) co_return unexpected(session_->peer());
  auto peer = from_wire(frame->message.hello(), session_->peer());
  Result<void> met;
  if (!peer) met = peer.error();
  if (peer && peer->role == Role::kPrimary)
    met = make_error(ErrorCode::kReadOnly, session_->peer() + " is a primary itself and cannot subscribe");
  if (met) {
    Node& node = environment_.node;
    met = co_await wire::run_on(environment_.workers, [&] { return node.meet_subscriber(*peer); });
  }
  if (!met) {
    co_await session_->refuse(wire::to_refusal_code(met.error().code), met.error().message);
    co_return std::move(met).error();
  }
  auto hello =
      hello_message(environment_.node.id(), environment_.node.membership(), environment_.advertise_address);
  auto sent = co_await session_->send(hello);
  if (!sent) co_return std::move(sent).error();
  auto version = common_version(frame->message.hello(), session_->peer());
  if (!version) co_return std::move(version).error();
  const auto& advertised = frame->message.hello().advertise_address();
  auto have = co_await receive_have();
  if (!have) co_return std::move(have).error();
  session_->established();
  version_ = *version;
  if (auto address = wire::parse_address(advertised); address) peer->address = advertised;
  record_ = environment_.admit(*peer);
  feeder_ = std::make_unique<Feeder>(environment_.source, *record_, std::move(*have), version_);
  co_return Result<void>();
}

Task<Result<std::unordered_map<DatabaseId, Position>>> Subscription::receive_have() {
  std::unordered_map<DatabaseId, Position> have;
  for (;;) {
    auto frame = co_await session_->receive();
    if (!frame) co_return std::move(frame).error();
    if (!frame->message.has_have()) co_return unexpected(session_->peer());
    for (const auto& database : frame->message.have().databases()) {
      auto logged = from_wire(database.logged());
      if (!logged) co_return std::move(logged).error();
      if (have.size() >= wire::kDatabaseCountMax)
        co_return make_error(ErrorCode::kInvalid, session_->peer() + ": too many databases");
      have[DatabaseId{database.id()}] = *logged;
    }
    if (frame->message.have().last()) co_return have;
  }
}

Task<void> Subscription::feed() {
  Buffer out;
  bool more = true;
  while (!session_->closed()) {
    auto changed = changed_.take();
    std::vector<ResyncRequest> resync;
    for (const auto& [id, whole] : std::exchange(resync_, {})) resync.push_back({id, whole});
    auto sums = std::exchange(sums_, {});
    bool retry = std::exchange(retry_, false);
    if (!more && changed.empty() && resync.empty() && sums.empty() && !retry) {
      co_await session_->changed().wait();
      continue;
    }
    out.clear();
    Result<void> understood;
    more = co_await wire::run_on(environment_.workers, [&] {
      if (retry) feeder_->retry_failed();
      for (const wire::Frame& frame : sums) {
        understood = feeder_->answered(frame.message.sums(), frame.payload);
        if (!understood) return false;
      }
      return feeder_->fill(changed, resync, out);
    });
    if (!understood) {
      session_->close(understood.error().with(session_->peer()));
      break;
    }
    if (out.empty()) continue;
    auto sent = co_await session_->write(out);
    if (!sent) break;
  }
}

Task<void> Subscription::send_heartbeats() {
  for (std::uint64_t sequence = 1; !session_->closed(); ++sequence) {
    wire::Message message;
    auto* heartbeat = message.mutable_heartbeat();
    heartbeat->set_wall_ms(environment_.clock.wall_ms());
    heartbeat->set_sequence(sequence);
    heartbeat->set_epoch(environment_.node.membership().epoch.value);
    record_->add_backlog(*heartbeat, wire::kEntriesPerMessage);
    auto sent = co_await session_->send(message);
    if (!sent) break;
    retry_ = true;
    session_->changed().notify();
    if (session_->closed()) break;
    co_await session_->closing().wait_for(session_->options().heartbeat_interval);
  }
}

Task<void> Subscription::listen() {
  while (!session_->closed()) {
    auto frame = co_await session_->receive();
    if (!frame) break;
    auto handled = handle(std::move(*frame));
    if (!handled) session_->close(std::move(handled).error());
  }
}

Result<void> Subscription::handle(wire::Frame frame) {
  const wire::Message& message = frame.message;
  if (message.has_heartbeat_reply()) return {};
  if (message.has_ack()) {
    for (const auto& progress : message.ack().progress())
      record_->acknowledged(DatabaseId{progress.id()}, Txid{progress.logged()}, Txid{progress.applied()});
    return {};
  }
  if (message.has_resync()) return handle_resync(message.resync());
  if (!message.has_sums() || version_ < wire::kVersionWithDifference) return unexpected(session_->peer());
  // Twice as many as can be open: those of databases that were dropped meanwhile come as well.
  if (sums_.size() >= 2 * Feeder::kQuestionCountMax)
    return make_error(ErrorCode::kInvalid, session_->peer() + ": sends more sums than it was asked for");
  sums_.push_back(std::move(frame));
  session_->changed().notify();
  return {};
}

Result<void> Subscription::handle_resync(const wire::Resync& resync) {
  if (resync_.size() >= wire::kDatabaseCountMax)
    return make_error(ErrorCode::kInvalid, session_->peer() + ": asks for too many snapshots");
  bool& whole = resync_[DatabaseId{resync.id()}];
  whole = whole || resync.whole();
  session_->changed().notify();
  return {};
}

}  // namespace rillfs::stream
