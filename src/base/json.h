#pragma once
// JSON files of others, read with errors that name file and byte, and JSON as text. Include only in .cc files: the
// parser is heavy.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace tandem {

using Json = nlohmann::json;

/// Parses `text`; `origin` (a path) is named in the error (kBadFile). Refuses nesting deeper than 256 and duplicate
/// keys.
Json parse_json(std::string_view text, std::string_view origin);
/// Reads and parses a whole file.
Json read_json_file(const std::filesystem::path& path);

/// In UTF-8, whatever the strings hold: bytes that are no UTF-8 (of paths, of the environment) become U+FFFD.
/// `indent` in spaces; -1: all in one line.
std::string json_text(const Json& json, int indent = -1);
/// The same in ASCII, for a terminal that is not to see the control characters of others.
std::string json_ascii(const Json& json, int indent = -1);

}  // namespace tandem
