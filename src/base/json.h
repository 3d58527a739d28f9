#pragma once
// JSON files of others, read with errors that name file and byte. Include only in .cc files: the parser is heavy.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace tandem {

using Json = nlohmann::json;

/// Parses `text`; `origin` (a path) is named in the error (kBadFile). Refuses nesting deeper than 256 and duplicate
/// keys.
Json parse_json(std::string_view text, std::string_view origin);
/// Reads and parses a whole file.
Json read_json_file(const std::filesystem::path& path);

}  // namespace tandem
