#pragma once
// The safetensors format (github.com/huggingface/safetensors, "Format"): a 64-bit little endian header length, a JSON
// header, then the tensors one after the other without gaps. Internal to weights/; users call open_safetensors().

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "weights/tensor_catalogue.h"

namespace tandem {

struct SafetensorsFile {
  std::vector<TensorEntry> entries;  ///< `data` points into the bytes given
  std::vector<UnusableTensor> unusable;
};

/// Checks everything before it is used; `file` is what errors and entries name. Throws kBadFile.
SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, const std::filesystem::path& file);

}  // namespace tandem
