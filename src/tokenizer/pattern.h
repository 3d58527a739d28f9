#pragma once
// What a tokenizer file searches for: a literal string or a regular expression.

#include <optional>
#include <string>
#include <variant>

#include "tokenizer/regex.h"

namespace tandem {

class Pattern {
 public:
  /// A literal; the empty one matches nowhere.
  explicit Pattern(std::string literal) : what_(std::move(literal)) {}
  explicit Pattern(Regex regex) : what_(std::move(regex)) {}

  /// The leftmost match that is not empty, at or after byte `from`.
  std::optional<TextRange> find(std::string_view text, std::size_t from) const;

  /// `text` with every match replaced. Throws kInvalidArgument when the result would exceed kMaxTextBytes.
  std::string replace_all(std::string_view text, std::string_view replacement) const;

 private:
  std::variant<std::string, Regex> what_;
};

/// Longest text the tokenizer handles, before and after normalisation: far past any context, and small enough that
/// positions fit 32 bits.
inline constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;

}  // namespace tandem
