#pragma once
// The one exception type of Tandem. Thread-safe: an Error is a value.

#include <stdexcept>
#include <string>
#include <string_view>

namespace tandem {

/// What kind of failure an Error is. One table (exit_status) maps kinds to the program's exit status.
enum class ErrorKind {
  kInvalidArgument,  ///< a value the caller passed: a flag, an option, a prompt
  kNotFound,         ///< a file, tensor, model or device that does not exist
  kUnreadable,       ///< exists, but the operating system refused to open, read or write it
  kBadFile,          ///< a file whose content contradicts its format or itself
  kUnsupported,      ///< valid, but not something this build or machine can do
  kOutOfMemory,      ///< memory or cache pages that do not suffice
  kTimeout,          ///< a wait that reached its deadline
  kPeerLost,         ///< another rank stopped or failed
  kCancelled,        ///< stopped on request
  kInternal,         ///< our own mistake: a check of an invariant failed
};

/// Stable kebab-case name of a kind, e.g. "bad-file"; printed in --json output.
std::string_view to_string(ErrorKind kind);

/// The program's exit status for a failure of this kind: 2, or 130 for kCancelled.
int exit_status(ErrorKind kind);

/// `what()` says what happened, with values, and where; `hint()` what to do next (may be empty).
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, std::string hint = {})
      : std::runtime_error(message), kind_(kind), hint_(std::move(hint)) {}
  ErrorKind kind() const { return kind_; }
  const std::string& hint() const { return hint_; }

 private:
  ErrorKind kind_;
  std::string hint_;
};

}  // namespace tandem
