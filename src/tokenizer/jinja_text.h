#pragma once
// Text as Python sees it: UTF-8 as code points, Unicode white space and case, repr of strings and floats. A byte that
// is not part of valid UTF-8 counts as one character and is copied as it is.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tandem::jinja {

/// Bytes of the character at the front of `text`, which is not empty: 1 to 4.
std::size_t character_bytes(std::string_view text);
/// Characters of `text`.
std::size_t count_characters(std::string_view text);
/// The characters of `text`, as views into it.
std::vector<std::string_view> split_characters(std::string_view text);
/// The code point of one character; the byte's value for an invalid one.
std::uint32_t code_point(std::string_view character);
void append_code_point(std::string& text, std::uint32_t code);

/// What str.isspace and \s mean in Python.
bool is_space(std::uint32_t code);
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
/// Without the leading (`left`) and trailing (`right`) characters that occur in `characters`.
std::string_view strip_characters(std::string_view text, std::string_view characters, bool left, bool right);

/// Simple case mapping of each character; of the special ones only sharp s, whose upper case is SS.
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string capitalize(std::string_view text);
/// str.title of Python: each letter that does not follow a letter in upper case.
std::string title(std::string_view text);
bool is_cased(std::uint32_t code);
bool is_letter(std::uint32_t code);
bool is_decimal_digit(std::uint32_t code);
bool is_upper(std::uint32_t code);
bool is_lower(std::uint32_t code);

/// Lines without their ends, as str.splitlines; `keep_ends` keeps them.
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

/// repr(float): the shortest digits that read back, "1.0", "1e+16", "inf", "nan".
std::string float_repr(double value);
/// repr(str): quoted, with escapes.
std::string text_repr(std::string_view text);

}  // namespace tandem::jinja
