#pragma once
// The facade over fmt: callers pay for fmt/core.h only; the formatting itself is compiled once, in log.cc.

#include <fmt/core.h>

#include <string>

namespace tandem {

std::string vformat(fmt::string_view text, fmt::format_args args);

/// format("{} of {}", 1, 2): checked at compile time.
template <class... A>
std::string format(fmt::format_string<A...> text, A&&... args) {
  return tandem::vformat(text, fmt::make_format_args(args...));
}

}  // namespace tandem
