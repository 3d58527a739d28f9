#pragma once
// Blocks of random numbers, for tests.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/dtype.h"
#include "base/random.h"

namespace tandem {

inline constexpr DType kBlockFormats[] = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                          DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

/// `count` blocks of random bytes, whose f16 scales are of either sign, below 2^-7, and never subnormal.
inline std::vector<std::byte> random_blocks(DType dtype, std::int64_t count, std::uint32_t seed) {
  const std::int64_t block_bytes = dtype_info(dtype).block_bytes;
  std::vector<std::byte> bytes(static_cast<std::size_t>(count * block_bytes));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {seed, 1})[0] >> 24);
  }
  const bool has_min = dtype != DType::kQ4_0 && dtype != DType::kQ5_0 && dtype != DType::kQ8_0 && dtype != DType::kQ6_K;
  for (std::int64_t b = 0; b < count; ++b) {
    std::byte* scales = bytes.data() + b * block_bytes + (dtype == DType::kQ6_K ? 208 : 0);
    for (int s = 0; s <= (has_min ? 1 : 0); ++s) {
      // The exponent, biased by 15, is 1, 3, 5 or 7.
      std::byte& upper = scales[2 * s + 1];
      upper = (upper & std::byte{0x9f}) | std::byte{0x04};
    }
  }
  return bytes;
}

}  // namespace tandem
