#pragma once
// The values of dummy weights: a definition short enough to be repeated on another device bit for bit.

#include <cstdint>
#include <string_view>

#include "base/dtype.h"

namespace tandem {

/// Values are uniform over mean - scale to mean + scale.
struct DummySpread {
  float mean = 0;
  float scale = 0;
};

/// 64-bit FNV-1a of the tensor's name.
std::uint64_t dummy_name_hash(std::string_view name);

/// Which values: those of one tensor.
struct DummyStream {
  std::uint64_t seed = 0;
  std::uint64_t name_hash = 0;
  DummySpread spread;
};

/// Writes elements [begin, end) of the tensor to `out`, in `dtype` (f32, f16, bf16).
/// Element i is mean + scale * u, where u = (2 * lane - 65535) / 65536 and lane is the i % 8-th 16-bit part, low half
/// first, of the four words philox({i / 8 low, i / 8 high, name_hash low, name_hash high}, {seed low, seed high});
/// computed in f32, then rounded to dtype. A mean other than 0 has a power of two as scale, so that the product is
/// exact and a fused multiply-add gives the same bits.
void fill_dummy(const DummyStream& stream, DType dtype, void* out, std::int64_t begin, std::int64_t end);

}  // namespace tandem
