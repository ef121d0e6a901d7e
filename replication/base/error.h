// Errors as values: what failed, why, and what to do about it.
//
// The code is a decision, not a description: callers branch on it. The message is for people; each layer that
// knows more adds its context in front (`error.with("commit of app.db")`). Errors are mapped to the outside
// in three places only: to an errno (fs/mount), to the wire (replication/wire), to an exit code (cmd).
#pragma once

#include <boost/system/result.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace rillfs {

enum class ErrorCode {
  kIo,                ///< the operating system refused; see errno_value
  kNoSpace,           ///< ENOSPC or EDQUOT: works again once there is room
  kCorrupt,           ///< bytes that do not verify; never served, never overwritten
  kInvalid,           ///< input that breaks a rule (configuration, argument, wire message)
  kNotFound,          ///< the thing asked for is not there
  kReadOnly,          ///< this node may not write
  kFenced,            ///< the lease or an epoch says no
  kPositionMismatch,  ///< a change set does not follow the local position
  kNotInLog,          ///< the log no longer (or does not) contain the position asked for
  kBusy,              ///< somebody holds a lock; try again
  kClosed,            ///< the peer or the object was shut down
  kUnsupported,       ///< a version or feature this build does not have
};

std::string_view to_string(ErrorCode code);

/// One failure. Cheap to move; compares by code only in tests.
struct Error {
  ErrorCode code = ErrorCode::kIo;
  int errno_value = 0;  ///< 0 where no system call failed
  std::string message;

  /// The same error with `context` in front of the message: "context: message".
  [[nodiscard]] Error with(std::string_view context) && {
    message.insert(0, std::string(context) + ": ");
    return std::move(*this);
  }
  [[nodiscard]] Error with(std::string_view context) const& { return Error(*this).with(context); }
};

/// An error from errno: ENOSPC and EDQUOT become kNoSpace, ENOENT kNotFound, the rest kIo.
Error errno_error(int errno_value, std::string_view what);
/// An error that is not a failed system call.
inline Error make_error(ErrorCode code, std::string message) { return Error{code, 0, std::move(message)}; }

/// A value or an Error. `if (!result) return result.error();`
template <class T>
using Result = boost::system::result<T, Error>;

/// Required by boost::system::result: taking the value of a failed result is a bug of ours.
[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location& where);

}  // namespace rillfs

/// Leaves the function with the error of `expr` (a Result) if it failed.
#define RILL_TRY(expr)                                                                  \
  do {                                                                                  \
    if (auto rill_result = (expr); !rill_result) return std::move(rill_result).error(); \
  } while (0)

#define RILL_CONCAT_(a, b) a##b
#define RILL_CONCAT(a, b) RILL_CONCAT_(a, b)
/// `RILL_ASSIGN(auto x, f());` declares x with the value of f(), or leaves the function with its error.
#define RILL_ASSIGN(declaration, expr) RILL_ASSIGN_(RILL_CONCAT(rill_result_, __LINE__), declaration, expr)
#define RILL_ASSIGN_(temporary, declaration, expr)     \
  auto temporary = (expr);                             \
  if (!temporary) return std::move(temporary).error(); \
  declaration = std::move(temporary).value()
