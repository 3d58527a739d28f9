#include "tokenizer/jinja_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/format.h"

namespace tandem::jinja {
namespace {

utf8proc_category_t category(std::uint32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

/// Applies `map` to the code point of each valid character and copies the others.
template <class Map>
std::string map_characters(std::string_view text, Map map) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::size_t size = character_bytes(text);
    const std::string_view character = text.substr(0, size);
    const std::uint32_t code = code_point(character);
    if (size == 1 && code >= 0x80) {
      result += character;
    } else {
      append_code_point(result, map(code));
    }
    text.remove_prefix(size);
  }
  return result;
}

// The one letter in common use whose upper case is two.
constexpr std::uint32_t kSharpS = 0xdf;
constexpr std::string_view kSharpSText = "\xc3\x9f";

std::uint32_t upper(std::uint32_t code) {
  return static_cast<std::uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code)));
}
std::uint32_t lower(std::uint32_t code) {
  return static_cast<std::uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}
std::uint32_t title_case(std::uint32_t code) {
  return static_cast<std::uint32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code)));
}

bool is_printable(std::uint32_t code) {
  if (code == ' ') return true;
  switch (category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool ends_line(std::uint32_t code) {
  return (code >= 0x0a && code <= 0x0d) || (code >= 0x1c && code <= 0x1e) || code == 0x85 || code == 0x2028 ||
         code == 0x2029;
}

}  // namespace

std::size_t character_bytes(std::string_view text) {
  if (static_cast<unsigned char>(text.front()) < 0x80) return 1;
  utf8proc_int32_t code = 0;
  const auto length = static_cast<utf8proc_ssize_t>(std::min<std::size_t>(text.size(), 4));
  const utf8proc_ssize_t size = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), length, &code);
  return size > 0 ? static_cast<std::size_t>(size) : 1;
}

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(character_bytes(text));
  return count;
}

std::vector<std::string_view> split_characters(std::string_view text) {
  std::vector<std::string_view> characters;
  while (!text.empty()) {
    characters.push_back(text.substr(0, character_bytes(text)));
    text.remove_prefix(characters.back().size());
  }
  return characters;
}

std::uint32_t code_point(std::string_view character) {
  utf8proc_int32_t code = 0;
  const utf8proc_ssize_t size = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(character.data()),
                                                 static_cast<utf8proc_ssize_t>(character.size()), &code);
  return size > 0 ? static_cast<std::uint32_t>(code) : static_cast<unsigned char>(character.front());
}

void append_code_point(std::string& text, std::uint32_t code) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const utf8proc_ssize_t size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes.data());
  text.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(size));
}

bool is_space(std::uint32_t code) {
  return (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x20) || code == 0x85 || code == 0xa0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f ||
         code == 0x205f || code == 0x3000;
}

namespace {

/// Bytes of the last character of `text`, which is not empty.
std::size_t last_character_bytes(std::string_view text) {
  for (std::size_t size = std::min<std::size_t>(4, text.size()); size > 1; --size) {
    if (character_bytes(text.substr(text.size() - size)) == size) return size;
  }
  return 1;
}

/// An invalid byte is no white space, though its value may be that of one (0x85, 0xa0).
bool is_space_character(std::string_view character) {
  const std::uint32_t code = code_point(character);
  return is_space(code) && (character.size() > 1 || code < 0x80);
}

template <class Drop>
std::string_view strip_if(std::string_view text, bool left, bool right, Drop drop) {
  while (left && !text.empty() && drop(text.substr(0, character_bytes(text)))) {
    text.remove_prefix(character_bytes(text));
  }
  while (right && !text.empty() && drop(text.substr(text.size() - last_character_bytes(text)))) {
    text.remove_suffix(last_character_bytes(text));
  }
  return text;
}

}  // namespace

std::string_view strip_left(std::string_view text) {
  return strip_if(text, true, false, is_space_character);
}

std::string_view strip_right(std::string_view text) {
  return strip_if(text, false, true, is_space_character);
}

std::string_view strip_characters(std::string_view text, std::string_view characters, bool left, bool right) {
  std::vector<std::string_view> set = split_characters(characters);
  std::sort(set.begin(), set.end());
  return strip_if(text, left, right,
                  [&](std::string_view character) { return std::binary_search(set.begin(), set.end(), character); });
}

std::string to_upper(std::string_view text) {
  std::string result = map_characters(text, [](std::uint32_t code) { return code == kSharpS ? code : upper(code); });
  for (std::size_t at = result.find(kSharpSText); at != result.npos; at = result.find(kSharpSText, at)) {
    result.replace(at, kSharpSText.size(), "SS");
  }
  return result;
}

std::string to_lower(std::string_view text) {
  return map_characters(text, lower);
}

std::string capitalize(std::string_view text) {
  bool first = true;
  return map_characters(
      text, [&](std::uint32_t code) { return std::exchange(first, false) ? title_case(code) : lower(code); });
}

std::string title(std::string_view text) {
  bool after_letter = false;
  return map_characters(text, [&](std::uint32_t code) {
    const bool inside = std::exchange(after_letter, is_cased(code));
    return inside ? lower(code) : title_case(code);
  });
}

bool is_upper(std::uint32_t code) {
  return category(code) == UTF8PROC_CATEGORY_LU;
}

bool is_lower(std::uint32_t code) {
  return category(code) == UTF8PROC_CATEGORY_LL;
}

bool is_cased(std::uint32_t code) {
  return is_upper(code) || is_lower(code) || category(code) == UTF8PROC_CATEGORY_LT;
}

bool is_letter(std::uint32_t code) {
  return is_cased(code) || category(code) == UTF8PROC_CATEGORY_LM || category(code) == UTF8PROC_CATEGORY_LO;
}

bool is_decimal_digit(std::uint32_t code) {
  return category(code) == UTF8PROC_CATEGORY_ND;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view character = text.substr(at, character_bytes(text.substr(at)));
    std::size_t next = at + character.size();
    const std::uint32_t code = code_point(character);
    if (ends_line(code) && (character.size() > 1 || code < 0x80)) {
      if (code == '\r' && next < text.size() && text[next] == '\n') ++next;
      lines.push_back(text.substr(begin, (keep_ends ? next : at) - begin));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer{};
  const double magnitude = std::fabs(value);
  // Python writes an exponent below 1e-4 and from 1e16 on.
  const bool fixed = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 fixed ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(buffer.data(), end.ptr);
  if (fixed && text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string text_repr(std::string_view text) {
  const bool double_quotes = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string result(1, quote);
  while (!text.empty()) {
    const std::string_view character = text.substr(0, character_bytes(text));
    text.remove_prefix(character.size());
    const std::uint32_t code = code_point(character);
    if (code == static_cast<unsigned char>(quote) || code == '\\') {
      result += '\\';
      result += character;
    } else if (code == '\n') {
      result += "\\n";
    } else if (code == '\r') {
      result += "\\r";
    } else if (code == '\t') {
      result += "\\t";
    } else if (is_printable(code) || (character.size() == 1 && code >= 0x80)) {
      result += character;
    } else if (code < 0x100) {
      result += format("\\x{:02x}", code);
    } else if (code < 0x10000) {
      result += format("\\u{:04x}", code);
    } else {
      result += format("\\U{:08x}", code);
    }
  }
  result += quote;
  return result;
}

}  // namespace tandem::jinja
