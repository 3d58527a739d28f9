#pragma once
// What row_tile.cuh can multiply, for those who choose the kernel.

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tandem {

/// Columns are counted in 32 bits, past the end too.
inline constexpr std::int64_t kMaxTileCols = std::int64_t{1} << 30;

/// x of 16 bits, and weights of its dtype in rows of whole 16 bytes, or quantised.
inline bool row_tile_takes(DType x_dtype, const void* x, std::int64_t cols, DType w_dtype, const void* w,
                           std::size_t row_stride) {
  const auto whole16 = [](const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; };
  if (x_dtype == DType::kF32 || !whole16(x) || cols > kMaxTileCols) return false;
  return is_quantised(w_dtype) || (w_dtype == x_dtype && cols % 8 == 0 && whole16(w) && row_stride % 16 == 0);
}

}  // namespace tandem
