#include "replication/stream/publisher.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <list>

#include "replication/base/mutex.h"
#include "replication/stream/subscription.h"

namespace rillfs::stream {

using wire::Task;

namespace {

constexpr std::int64_t kGoneKeptMs = 3600 * 1000;
constexpr std::size_t kRecordCountMax = 1024;
constexpr Duration kAcceptRetry = std::chrono::milliseconds(100);

}  // namespace

class Publisher::Impl {
 public:
  Impl(Node& node, Source& source, wire::Transport& transport, const Clock& clock,
       const wire::Executor& network, wire::Executor workers, PublisherOptions options)
      : node_(node),
        source_(source),
        transport_(transport),
        clock_(clock),
        network_(network),
        workers_(std::move(workers)),
        options_(std::move(options)),
        tasks_(network),
        stopping_(network) {}

  Result<void> start();
  void stop();
  wire::Address address() const { return listener_->address(); }
  std::vector<ReplicaStatus> status() const;

 private:
  void tell_subscribers();
  Task<void> accept();
  Task<void> serve(std::shared_ptr<wire::Session> session);
  std::size_t subscriber_count() const;
  std::shared_ptr<ReplicaRecord> admit(const PeerIdentity& peer);
  void forget_old_records() RILL_REQUIRES(mutex_);
  void run_on_network(std::function<void()> work);

  Node& node_;
  Source& source_;
  wire::Transport& transport_;
  const Clock& clock_;
  const wire::Executor network_;
  const wire::Executor workers_;
  const PublisherOptions options_;
  wire::TaskGroup tasks_;
  ChangedDatabases changed_;  // not told to the subscribers yet
  std::atomic<bool> has_subscribers_ = false;
  // Network thread.
  wire::Signal stopping_;
  bool stopped_ = false;
  std::unique_ptr<wire::Listener> listener_;

  mutable Mutex mutex_;
  std::list<std::shared_ptr<Subscription>> subscriptions_ RILL_GUARDED_BY(mutex_);
  std::list<std::shared_ptr<ReplicaRecord>> records_ RILL_GUARDED_BY(mutex_);
};

Result<void> Publisher::Impl::start() {
  RILL_ASSIGN(listener_, transport_.listen(options_.listen));
  // A commit waits for this: it costs the same however many subscribers there are.
  source_.listen([this](DatabaseId id) {
    if (has_subscribers_ && changed_.put(id)) boost::asio::post(network_, [this] { tell_subscribers(); });
  });
  tasks_.spawn("publisher", accept());
  return {};
}

void Publisher::Impl::tell_subscribers() {
  const auto changed = changed_.take();
  Lock lock(mutex_);
  for (const auto& subscription : subscriptions_)
    for (const DatabaseId id : changed) subscription->changed(id);
}

void Publisher::Impl::stop() {
  if (!listener_) return;
  source_.listen({});
  run_on_network([this] {
    stopped_ = true;
    stopping_.notify();
    listener_->close();
    Lock lock(mutex_);
    for (const auto& subscription : subscriptions_)
      subscription->close(make_error(ErrorCode::kClosed, "this node is stopping"));
  });
  tasks_.wait();
  run_on_network([] {});  // after what was posted before
}

void Publisher::Impl::run_on_network(std::function<void()> work) {
  std::promise<void> done;
  boost::asio::post(network_, [&] {
    work();
    done.set_value();
  });
  done.get_future().wait();
}

Task<void> Publisher::Impl::accept() {
  while (!stopped_) {
    auto stream = co_await listener_->accept();
    if (stopped_) break;
    if (!stream) {
      spdlog::error("{}", stream.error().message);
      co_await stopping_.wait_for(kAcceptRetry);
      continue;
    }
    auto session = std::make_shared<wire::Session>(std::move(*stream), network_, clock_, options_.session);
    tasks_.spawn("subscription of " + session->peer(), serve(session));
  }
}

Task<void> Publisher::Impl::serve(std::shared_ptr<wire::Session> session) {
  if (stopped_) co_return;
  if (const std::size_t count = subscriber_count(); count >= options_.subscriber_count_max) {
    spdlog::warn("connection from {} refused: {} subscribers already", session->peer(), count);
    session->close(make_error(ErrorCode::kBusy, "too many subscribers"));
    co_return;
  }
  Subscription::Environment environment{node_,
                                        source_,
                                        clock_,
                                        network_,
                                        workers_,
                                        tasks_,
                                        options_.advertise_address,
                                        [this](const PeerIdentity& peer) { return admit(peer); }};
  auto subscription = std::make_shared<Subscription>(std::move(environment), std::move(session));
  {
    Lock lock(mutex_);
    subscriptions_.push_back(subscription);
    has_subscribers_ = true;
  }
  co_await subscription->run();
  Lock lock(mutex_);
  subscriptions_.remove(subscription);
  has_subscribers_ = !subscriptions_.empty();
}

std::size_t Publisher::Impl::subscriber_count() const {
  Lock lock(mutex_);
  return subscriptions_.size();
}

std::shared_ptr<ReplicaRecord> Publisher::Impl::admit(const PeerIdentity& peer) {
  auto record = std::make_shared<ReplicaRecord>(peer.node, peer.address, clock_);
  Lock lock(mutex_);
  for (const auto& subscription : subscriptions_)
    if (subscription->node() == peer.node)
      subscription->close(
          make_error(ErrorCode::kClosed, "the same node has connected again from " + peer.address));
  records_.remove_if([&](const auto& old) { return old->node() == peer.node; });
  forget_old_records();
  records_.push_back(record);
  return record;
}

void Publisher::Impl::forget_old_records() {
  records_.remove_if([](const auto& old) { return old->gone_ms() > kGoneKeptMs; });
  while (records_.size() >= kRecordCountMax) {
    auto gone =
        std::find_if(records_.begin(), records_.end(), [](const auto& old) { return old->is_gone(); });
    if (gone == records_.end()) break;
    records_.erase(gone);
  }
}

std::vector<ReplicaStatus> Publisher::Impl::status() const {
  auto databases = source_.list();
  std::list<std::shared_ptr<ReplicaRecord>> records;
  {
    Lock lock(mutex_);
    records = records_;
  }
  std::vector<ReplicaStatus> status;
  for (const auto& record : records)
    if (record->gone_ms() <= kGoneKeptMs) status.push_back(record->status(databases));
  return status;
}

Publisher::Publisher(Node& node, Source& source, wire::Transport& transport, const Clock& clock,
                     wire::Executor network, wire::Executor workers, PublisherOptions options)
    : impl_(std::make_unique<Impl>(node, source, transport, clock, std::move(network), std::move(workers),
                                   std::move(options))) {}
Publisher::~Publisher() = default;
Result<void> Publisher::start() { return impl_->start(); }
void Publisher::stop() { impl_->stop(); }
wire::Address Publisher::address() const { return impl_->address(); }
std::vector<ReplicaStatus> Publisher::status() const { return impl_->status(); }

}  // namespace rillfs::stream
