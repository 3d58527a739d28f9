#pragma once
// Walks a GGUF file once from front to back and checks all of it. Internal to weights/gguf.

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "weights/gguf/gguf_file.h"

namespace tandem {

struct ParsedGguf {
  std::vector<GgufValue> values;  ///< in order of key, which views `bytes`
  std::vector<TensorEntry> entries;
};

/// Throws as the constructors of GgufFile do; `file` is what errors and entries name.
ParsedGguf parse_gguf(std::span<const std::byte> bytes, const std::filesystem::path& file);

/// Bytes of a value of this type; 0 for strings and arrays.
std::size_t gguf_type_bytes(GgufType type);

/// The string whose 64-bit length stands at `offset`, already checked by parse_gguf().
std::string_view gguf_string(std::span<const std::byte> bytes, std::size_t offset);

}  // namespace tandem
