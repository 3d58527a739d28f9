#pragma once
// Element types: plain ones, and GGUF's quantised ones, whose elements live in blocks.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tandem {

enum class DType : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kI32,
  kU8,  // plain: one element a block
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,  // GGUF blocks, specified by ggml-quants
};

struct DTypeInfo {
  std::string_view name;  ///< lower case, e.g. "bf16", "q4_1"
  int block_size;         ///< elements a block
  int block_bytes;        ///< bytes a block
};

const DTypeInfo& dtype_info(DType dtype);
std::string_view to_string(DType dtype);
/// Accepts the names of dtype_info in any case.
std::optional<DType> parse_dtype(std::string_view name);

inline bool is_quantised(DType dtype) {
  return dtype >= DType::kQ4_0;
}
inline bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

/// Bytes of `count` consecutive elements; count is a multiple of the block size (checked).
std::size_t dtype_bytes(DType dtype, std::int64_t count);

}  // namespace tandem
