#include "base/error.h"

namespace tandem {

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument:
      return "invalid-argument";
    case ErrorKind::kNotFound:
      return "not-found";
    case ErrorKind::kUnreadable:
      return "unreadable";
    case ErrorKind::kBadFile:
      return "bad-file";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kOutOfMemory:
      return "out-of-memory";
    case ErrorKind::kTimeout:
      return "timeout";
    case ErrorKind::kPeerLost:
      return "peer-lost";
    case ErrorKind::kCancelled:
      return "cancelled";
    case ErrorKind::kInternal:
      return "internal";
  }
  return "unknown";
}

int exit_status(ErrorKind kind) {
  return kind == ErrorKind::kCancelled ? 130 : 2;
}

std::string default_hint(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kNotFound:
      return "check the spelling of the path";
    case ErrorKind::kUnreadable:
      return "check the permissions of the file and of its folders";
    case ErrorKind::kBadFile:
      return "the file is damaged or incomplete: correct it, or fetch it again";
    default:
      return "";
  }
}

void fail_with_hint(ErrorKind kind, const std::string& message, const std::string& hint) {
  throw Error(kind, message, hint);
}

void check_failed(const char* file, int line, const char* expression, const std::string& message) {
  throw Error(ErrorKind::kInternal, format("{}:{}: {} does not hold: {}", file, line, expression, message),
              "this is a mistake in Tandem; please report it with the command that led here");
}

}  // namespace tandem
