#include "tokenizer/byte_level.h"

#include <array>
#include <cstdint>

namespace tandem {
namespace {

constexpr bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

constexpr std::array<std::uint16_t, 256> kCharacterOfByte = [] {
  std::array<std::uint16_t, 256> table{};
  std::uint16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    table[byte] = stands_for_itself(byte) ? static_cast<std::uint16_t>(byte) : next++;
  }
  return table;
}();

constexpr int kNumCharacters = 0x100 + 68;

constexpr std::array<std::int16_t, kNumCharacters> kByteOfCharacter = [] {
  std::array<std::int16_t, kNumCharacters> table{};
  table.fill(-1);
  for (int byte = 0; byte < 256; ++byte) table[kCharacterOfByte[byte]] = static_cast<std::int16_t>(byte);
  return table;
}();

}  // namespace

std::string bytes_to_characters(std::string_view bytes) {
  std::string result;
  result.reserve(2 * bytes.size());
  for (const char byte : bytes) {
    const unsigned character = kCharacterOfByte[static_cast<unsigned char>(byte)];
    if (character >= 0x80) {
      result += static_cast<char>(0xC0 | (character >> 6));
      result += static_cast<char>(0x80 | (character & 0x3F));
    } else {
      result += static_cast<char>(character);
    }
  }
  return result;
}

std::optional<std::string> characters_to_bytes(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned character = static_cast<unsigned char>(text[i]);
    if (character >= 0xE0 || (character >= 0x80 && i + 1 == text.size())) return std::nullopt;
    if (character >= 0x80) character = ((character & 0x1F) << 6) | (static_cast<unsigned char>(text[++i]) & 0x3F);
    if (character >= kNumCharacters || kByteOfCharacter[character] < 0) return std::nullopt;
    result += static_cast<char>(kByteOfCharacter[character]);
  }
  return result;
}

}  // namespace tandem
