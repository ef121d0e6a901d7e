#include "replication/wire/session.h"

#include <algorithm>

namespace rillfs::wire {

namespace {

std::string seconds_text(Duration duration) {
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  return std::to_string(ms / 1000) + "." + std::to_string(ms % 1000 / 100) + " s";
}

}  // namespace

Session::Session(std::unique_ptr<Stream> stream, Executor network, const Clock& clock, SessionOptions options)
    : stream_(std::move(stream)),
      clock_(clock),
      options_(options),
      opened_(clock.monotonic()),
      changed_(network),
      closing_(network),
      written_(network) {}

Session::~Session() { stream_->close(); }

Task<Result<Frame>> Session::receive() {
  for (;;) {
    if (reason_) co_return *reason_;
    auto frame = parser_.next();
    if (!frame) {
      close(std::move(frame).error());
      co_return *reason_;
    }
    if (frame->has_value()) co_return std::move(**frame);
    listening_since_ = clock_.monotonic();
    auto count = co_await stream_->read_some(parser_.space());
    listening_since_.reset();
    if (!count) {
      close(std::move(count).error());
      co_return *reason_;
    }
    parser_.filled(*count);
  }
}

Task<Result<void>> Session::send(const Message& message) {
  Buffer bytes;
  append_frame(message, bytes);
  auto sent = co_await write(bytes);
  co_return sent;
}

Task<Result<void>> Session::write(Bytes frames) {
  while (writing_ && !reason_) co_await written_.wait();
  if (reason_) co_return *reason_;
  writing_ = true;
  auto written = co_await stream_->write(frames);
  writing_ = false;
  written_.notify();
  if (!written) close(std::move(written).error());
  if (reason_) co_return *reason_;
  co_return Result<void>();
}

Task<void> Session::refuse(Refusal::Code code, const std::string& text) {
  Message message;
  message.mutable_refusal()->set_code(code);
  // The peer shows it to people; a path in it can be long, a message must fit.
  message.mutable_refusal()->set_message(text.substr(0, kMessageSizeMax / 2));
  auto sent = co_await send(message);
  if (!sent) co_return;
  // What the peer has sent meanwhile is read, so that the close is no reset that would overtake the refusal.
  auto deadline = clock_.monotonic() + options_.handshake_timeout;
  while (clock_.monotonic() < deadline) {
    auto frame = co_await receive();
    if (!frame) break;
  }
  close(make_error(ErrorCode::kClosed, "refused: " + text));
}

std::optional<Error> Session::overdue() const {
  Monotonic now = clock_.monotonic();
  if (!established_ && now - opened_ > options_.handshake_timeout)
    return make_error(ErrorCode::kClosed,
                      peer() + ": no complete handshake within " + seconds_text(options_.handshake_timeout));
  if (established_ && listening_since_ && now - *listening_since_ > options_.peer_timeout)
    return make_error(ErrorCode::kClosed,
                      peer() + ": silent for " + seconds_text(options_.peer_timeout) + ", taken for dead");
  return std::nullopt;
}

Task<void> Session::watch() {
  Duration interval = std::min(options_.peer_timeout, options_.handshake_timeout) / 4;
  while (!reason_) {
    co_await closing_.wait_for(interval);
    if (auto error = overdue(); error && !reason_) close(std::move(*error));
  }
}

void Session::close(Error why) {
  if (reason_) return;
  reason_ = std::move(why);
  stream_->close();
  changed_.notify();
  closing_.notify();
  written_.notify();
}

Error to_error(const Refusal& refusal) {
  ErrorCode code = ErrorCode::kInvalid;
  if (refusal.code() == Refusal::VERSION) code = ErrorCode::kUnsupported;
  if (refusal.code() == Refusal::EPOCH) code = ErrorCode::kFenced;
  if (refusal.code() == Refusal::ROLE) code = ErrorCode::kReadOnly;
  if (refusal.code() == Refusal::OVERLOADED) code = ErrorCode::kBusy;
  return make_error(code, "refused by the peer: " + refusal.message());
}

Refusal::Code to_refusal_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUnsupported:
      return Refusal::VERSION;
    case ErrorCode::kFenced:
      return Refusal::EPOCH;
    case ErrorCode::kReadOnly:
      return Refusal::ROLE;
    case ErrorCode::kBusy:
      return Refusal::OVERLOADED;
    default:
      return Refusal::INVALID;
  }
}

}  // namespace rillfs::wire
