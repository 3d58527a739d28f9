#pragma once
// Raising errors and checking our own invariants.

#include "base/format.h"
#include "tandem/error.h"

namespace tandem {

/// What to do about a failure of this kind when its place knows nothing better; empty for most kinds.
std::string default_hint(ErrorKind kind);

/// Throws Error(kind, formatted message) with the kind's default hint.
template <class... A>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<A...> text, A&&... args) {
  throw Error(kind, tandem::vformat(text, fmt::make_format_args(args...)), default_hint(kind));
}

/// Throws Error(kind, message, hint): both made with format() by the caller.
[[noreturn]] void fail_with_hint(ErrorKind kind, const std::string& message, const std::string& hint);

[[noreturn]] void check_failed(const char* file, int line, const char* expression, const std::string& message);

}  // namespace tandem

/// An invariant of ours, checked in release builds too. The message names the values: TANDEM_CHECK(a < b, "a {} b {}",
/// a, b).
#define TANDEM_CHECK(expression, ...)                                                         \
  do {                                                                                        \
    if (!(expression)) [[unlikely]]                                                           \
      ::tandem::check_failed(__FILE__, __LINE__, #expression, ::tandem::format(__VA_ARGS__)); \
  } while (false)
