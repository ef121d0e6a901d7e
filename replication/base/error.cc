#include "replication/base/error.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace rillfs {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kNoSpace:
      return "no-space";
    case ErrorCode::kCorrupt:
      return "corrupt";
    case ErrorCode::kInvalid:
      return "invalid";
    case ErrorCode::kNotFound:
      return "not-found";
    case ErrorCode::kReadOnly:
      return "read-only";
    case ErrorCode::kFenced:
      return "fenced";
    case ErrorCode::kPositionMismatch:
      return "position-mismatch";
    case ErrorCode::kNotInLog:
      return "not-in-log";
    case ErrorCode::kBusy:
      return "busy";
    case ErrorCode::kClosed:
      return "closed";
    case ErrorCode::kUnsupported:
      return "unsupported";
  }
  return "unknown";
}

Error errno_error(int errno_value, std::string_view what) {
  ErrorCode code = ErrorCode::kIo;
  if (errno_value == ENOSPC || errno_value == EDQUOT) code = ErrorCode::kNoSpace;
  if (errno_value == ENOENT) code = ErrorCode::kNotFound;
  return Error{code, errno_value, std::string(what) + ": " + std::strerror(errno_value)};
}

void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw std::logic_error("value of a failed result: " + error.message);
}

}  // namespace rillfs
