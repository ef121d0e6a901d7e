// One connection to another node: whole frames in and out, and the watch over a peer that falls silent.
//
// Writers wait for each other and for the socket, so nothing is queued here. A peer is dead when we have
// listened for `peer_timeout` without a byte from it; while we do not listen (a full receive budget), its
// silence does not count. Until established() the whole handshake has one deadline.
//
// Threads: network. Coroutines that use a Session share its ownership.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "replication/wire/frame.h"
#include "replication/wire/transport.h"

namespace rillfs::wire {

struct SessionOptions {
  Duration heartbeat_interval = std::chrono::seconds(1);
  Duration peer_timeout = std::chrono::seconds(5);
  Duration handshake_timeout = std::chrono::seconds(5);
};

class Session {
 public:
  Session(std::unique_ptr<Stream> stream, Executor network, const Clock& clock, SessionOptions options);
  ~Session();

  /// The next frame. After an error the session is closed.
  Task<Result<Frame>> receive();
  /// Sends one message without payload.
  Task<Result<void>> send(const Message& message);
  /// Sends whole frames that the caller has encoded and keeps until this returns.
  Task<Result<void>> write(Bytes frames);
  /// Sends a refusal, waits for the peer to close (no longer than a handshake may take), then closes.
  Task<void> refuse(Refusal::Code code, const std::string& text);

  /// Closes the session when the peer falls silent; returns when it is closed. Run it once, beside the
  /// others.
  Task<void> watch();
  /// The handshake is done: from now on only silence counts.
  void established() { established_ = true; }

  /// The first reason wins. Everything under way ends with it.
  void close(Error why);
  bool closed() const { return reason_.has_value(); }
  /// Why it was closed. Only after closed().
  const Error& reason() const { return *reason_; }
  std::string peer() const { return stream_->peer(); }
  /// Notified when the session closes, and free for its user to notify.
  Signal& changed() { return changed_; }
  /// Notified when the session closes, only.
  Signal& closing() { return closing_; }
  const SessionOptions& options() const { return options_; }

 private:
  std::optional<Error> overdue() const;

  std::unique_ptr<Stream> stream_;
  const Clock& clock_;
  const SessionOptions options_;
  const Monotonic opened_;
  FrameParser parser_;
  Signal changed_;
  Signal closing_;
  Signal written_;
  bool writing_ = false;
  bool established_ = false;
  std::optional<Monotonic> listening_since_;  // while a read is under way
  std::optional<Error> reason_;
};

/// The error that a refusal stands for, for the side that receives it, and back.
Error to_error(const Refusal& refusal);
Refusal::Code to_refusal_code(ErrorCode code);

}  // namespace rillfs::wire
