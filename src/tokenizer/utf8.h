#pragma once
// UTF-8 as byte sequences. What a character means is left to PCRE2 and utf8proc.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace tandem {

/// What the bytes at the start of a text are.
struct Utf8Prefix {
  enum class Kind { kCharacter, kInvalid, kIncomplete };
  Kind kind;
  std::size_t
      length;  ///< bytes of the character, or of the longest start of one (at least 1) that is broken or cut off
};

/// Looks at the first character of a text that is not empty. Well-formed sequences as in the Unicode Standard,
/// table 3-7; the invalid part is the maximal subpart of section 3.9, so that one U+FFFD stands for it.
Utf8Prefix utf8_prefix(std::string_view text);

/// Byte offset of the first thing that is not UTF-8.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// Bytes of the character at the start of valid UTF-8.
inline std::size_t utf8_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/// Byte offset of the last character of valid UTF-8 that is not empty.
inline std::size_t last_character(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// Turns bytes that arrive in any portions into UTF-8 text, U+FFFD for what is broken.
class Utf8Assembler {
 public:
  /// Appends to `out` the characters complete after `bytes`.
  void push(std::string_view bytes, std::string& out);
  /// Appends U+FFFD if a character was left incomplete, and starts anew.
  void flush(std::string& out);

 private:
  std::string held_;  ///< at most three bytes: the start of a character
};

}  // namespace tandem
