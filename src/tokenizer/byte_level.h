#pragma once
// GPT-2's spelling of bytes as printable characters: a byte that is a printable Latin-1 character stands for itself,
// the other 68, in order, are U+0100 and up (space is "Ġ", U+0120). Source: bytes_to_unicode in openai/gpt-2
// encoder.py.

#include <optional>
#include <string>
#include <string_view>

namespace tandem {

/// Replaces every byte by its character.
std::string bytes_to_characters(std::string_view bytes);

/// The reverse; nullopt when a character of `text` (valid UTF-8) stands for no byte.
std::optional<std::string> characters_to_bytes(std::string_view text);

}  // namespace tandem
