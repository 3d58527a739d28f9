#include "base/quote.h"

#include <algorithm>

#include "base/format.h"

namespace tandem {
namespace {

// Bytes of the UTF-8 character that `text` starts with; 0: it starts with none. Overlong forms of three bytes and more
// and surrogates steer no terminal and count as characters.
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return 1;
  const std::size_t length = byte(0) < 0xc2 ? 0 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : byte(0) < 0xf5 ? 4 : 0;
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  return first < 0x20 || first == 0x7f || (first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0);
}

std::string replace_controls(std::string_view text, std::string_view kept) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(1, length));
    const bool good = length > 0 && (!is_control(character) || kept.find(character) != kept.npos);
    shown += good ? character : "?";
    text.remove_prefix(character.size());
  }
  return shown;
}

}  // namespace

std::string printable(std::string_view text) {
  return replace_controls(text, "\n\t");
}

std::string quote(std::string_view name) {
  constexpr std::size_t kMaxShown = 120;
  if (name.size() <= kMaxShown) return format("\"{}\"", replace_controls(name, ""));
  return format("\"{}[... {} bytes ...]{}\"", replace_controls(name.substr(0, kMaxShown / 2), ""),
                name.size() - kMaxShown, replace_controls(name.substr(name.size() - kMaxShown / 2), ""));
}

}  // namespace tandem
