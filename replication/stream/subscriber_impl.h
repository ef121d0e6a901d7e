// The subscriber's state, shared by subscriber.cc (the connection) and subscriber_databases.cc (what
// arrives).
#pragma once

#include <atomic>
#include <deque>
#include <unordered_map>

#include "replication/base/mutex.h"
#include "replication/stream/applier.h"
#include "replication/stream/replica_progress.h"
#include "replication/stream/subscriber.h"

namespace rillfs::stream {

/// Threads: network, unless it says otherwise.
class Subscriber::Impl {
 public:
  Impl(Node& node, Sink& sink, wire::Transport& transport, FileSystem& files, const Clock& clock,
       Random& random, const wire::Executor& network, wire::Executor workers, SubscriberOptions options);

  void start();                                     // owner's thread
  void stop();                                      // owner's thread
  SubscriberStatus status() const;                  // any thread
  void when_caught_up(std::function<void()> done);  // any thread
  void resync(DatabaseId id);                       // any thread

 private:
  using SessionPtr = std::shared_ptr<wire::Session>;

  /// One database during one session: frames wait here for a worker.
  struct Inbox {
    Inbox(Sink& sink, FileSystem& files, DatabaseId database, bool complete, std::size_t image_memory_max)
        : id(database), applier(sink, files, database, complete, image_memory_max) {}
    const DatabaseId id;
    Applier applier;  // used by one worker at a time, for drain()
    std::deque<wire::Frame> frames;
    bool draining = false;
    bool dropped = false;  // the drop is in `frames`, or done
    Txid snapshot_start;
    bool by_difference = false;         // the snapshot
    std::uint64_t wish = 0;             // the owner's latest when the worker was given this batch
    std::uint64_t snapshot_wish = 0;    // and when it was given the snapshot's beginning
    std::optional<wire::Frame> failed;  // an announcement or drop, tried again now and then
  };
  using InboxPtr = std::shared_ptr<Inbox>;

  // The connection (subscriber.cc).
  wire::Task<void> run();
  wire::Task<Result<void>> connect_once();
  wire::Task<Result<SessionPtr>> open_session();
  wire::Task<Result<void>> greet(SessionPtr session);
  wire::Task<Result<void>> send_have(SessionPtr session, const std::vector<DatabaseState>& databases);
  wire::Task<void> receive(SessionPtr session);
  wire::Task<void> send_replies(SessionPtr session);
  wire::Task<void> send_acks(SessionPtr session);
  void set_state(bool connected, std::string error);
  void run_on_network(std::function<void()> work);  // owner's thread

  // What arrives (subscriber_databases.cc).
  Result<void> dispatch(const SessionPtr& session, wire::Frame frame);
  Result<void> heard(const SessionPtr& session, const wire::Heartbeat& heartbeat);
  Result<void> enqueue(const SessionPtr& session, wire::Frame frame);
  Result<void> note(Inbox& inbox, const wire::Frame& frame);
  void doubt_history(wire::SnapshotBegin& begin) const;
  void push(const SessionPtr& session, const InboxPtr& inbox, wire::Frame frame);
  wire::Task<void> drain(SessionPtr session, InboxPtr inbox);
  wire::Task<bool> settle(SessionPtr session, InboxPtr inbox, const wire::Frame& frame,
                          const Outcome& outcome);
  void done(Inbox& inbox, const wire::Frame& frame);
  std::uint64_t wish_for(DatabaseId id) const;
  wire::Task<void> answer(SessionPtr session, wire::SumsWanted wanted, Buffer sums);
  void ask_for_snapshot(const SessionPtr& session, DatabaseId id, bool whole);
  wire::Task<void> ask_again(SessionPtr session, DatabaseId id, Duration delay, bool whole);
  void progressed(const Sink::Progress& progress);  // any thread
  void take_progress();
  void check_caught_up();
  static std::size_t cost(const wire::Frame& frame);

  Node& node_;
  Sink& sink_;
  wire::Transport& transport_;
  FileSystem& files_;
  const Clock& clock_;
  Random& random_;
  const wire::Executor network_;
  const wire::Executor workers_;
  const SubscriberOptions options_;
  wire::TaskGroup tasks_;
  ReplicaProgress progress_;

  // Network thread.
  wire::Signal stopping_;
  wire::Signal drained_;
  bool stopped_ = false;
  SessionPtr session_;
  Epoch primary_epoch_;
  bool epoch_contested_ = false;
  std::uint64_t heartbeat_seen_ = 0;
  std::unordered_map<DatabaseId, InboxPtr> inboxes_;
  std::unordered_map<DatabaseId, bool> complete_;  // what the sink had when the session began
  std::unordered_map<DatabaseId, Duration> resync_delay_;
  /// By the owner, numbered; until a snapshot that began after the wish is complete.
  std::unordered_map<DatabaseId, std::uint64_t> resync_wanted_;
  std::uint64_t wish_count_ = 0;
  bool catalog_ended_ = false;  // in this session: the primary knows what is wanted of it
  std::unordered_map<DatabaseId, Sink::Progress> acks_;  // not sent yet
  std::size_t draining_ = 0;
  bool answering_ = false;  // a database's sums are being read or sent: one at a time, for they are large
  std::vector<std::function<void()>> waiting_for_catch_up_;

  std::atomic<std::size_t> unprocessed_ = 0;
  std::atomic<std::size_t> unprocessed_peak_ = 0;
  std::atomic<bool> is_caught_up_ = false;

  mutable Mutex mutex_;
  SubscriberStatus state_ RILL_GUARDED_BY(mutex_);
  std::unordered_map<DatabaseId, Sink::Progress> progress_reports_ RILL_GUARDED_BY(mutex_);
};

}  // namespace rillfs::stream
