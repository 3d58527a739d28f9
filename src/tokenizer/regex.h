#pragma once
// Regular expressions of tokenizer files, run by PCRE2 (JIT). The files are written for Oniguruma and Rust's regex;
// what those read differently is rewritten, or refused by name.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace tandem {

/// Bytes [begin, end) of a text.
struct TextRange {
  std::size_t begin;
  std::size_t end;
};

/// A compiled pattern. Immutable; any thread may search with it.
class Regex {
 public:
  /// `origin` (file and field) is named in errors: kBadFile when the pattern does not compile, kUnsupported for a
  /// construct that would mean something else here.
  Regex(std::string_view pattern, std::string_view origin);

  /// The leftmost match in valid UTF-8 text at or after byte `from`; lookbehind sees the text before. Throws kBadFile
  /// when the match takes more steps than any sane pattern needs.
  std::optional<TextRange> find(std::string_view text, std::size_t from) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

/// Unicode's White_Space property of the first character of `text` (valid UTF-8, not empty).
bool starts_with_white_space(std::string_view text);
/// A letter, mark, decimal digit, connector or joiner: \w of Rust's regex.
bool starts_with_word_character(std::string_view text);

}  // namespace tandem
