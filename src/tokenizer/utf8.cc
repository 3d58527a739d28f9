#include "tokenizer/utf8.h"

#include <cstdint>

namespace tandem {

Utf8Prefix utf8_prefix(std::string_view text) {
  using Kind = Utf8Prefix::Kind;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {Kind::kCharacter, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Kind::kInvalid, 1};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Kind::kIncomplete, i};
    // The second byte is restricted after four leads: no overlong forms, no surrogates, nothing past U+10FFFF.
    const unsigned low = i == 1 && lead == 0xE0 ? 0xA0 : i == 1 && lead == 0xF0 ? 0x90 : 0x80;
    const unsigned high = i == 1 && lead == 0xED ? 0x9F : i == 1 && lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(i) < low || byte(i) > high) return {Kind::kInvalid, i};
  }
  return {Kind::kCharacter, length};
}

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Utf8Prefix prefix = utf8_prefix(text.substr(at));
    if (prefix.kind != Utf8Prefix::Kind::kCharacter) return at;
    at += prefix.length;
  }
  return std::nullopt;
}

void Utf8Assembler::push(std::string_view bytes, std::string& out) {
  held_ += bytes;
  std::size_t at = 0;
  while (at < held_.size()) {
    const Utf8Prefix prefix = utf8_prefix(std::string_view(held_).substr(at));
    if (prefix.kind == Utf8Prefix::Kind::kIncomplete) break;
    if (prefix.kind == Utf8Prefix::Kind::kCharacter) {
      out.append(held_, at, prefix.length);
    } else {
      out += kReplacementCharacter;
    }
    at += prefix.length;
  }
  held_.erase(0, at);
}

void Utf8Assembler::flush(std::string& out) {
  if (!held_.empty()) out += kReplacementCharacter;
  held_.clear();
}

}  // namespace tandem
