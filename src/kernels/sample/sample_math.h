#pragma once
// The arithmetic of sharded sampling, for host and device: the same bits on both. Products and sums that a compiler
// could fuse are written as fused.

#include <cmath>
#include <cstdint>

#include "base/host_device.h"

namespace tandem::sampling {

inline constexpr int kBins = 256;  ///< of a histogram: a step of the search fixes 8 bits of a key
inline constexpr int kLevels = 4;  ///< such steps
inline constexpr std::uint64_t kAll = ~std::uint64_t{0};
inline constexpr std::int32_t kAllFinite = 0x7fffffff;

/// In the order of logits; 0 and -0 are one.
TANDEM_HD std::uint32_t key_of(float logit) {
  const std::uint32_t bits = logit == 0 ? 0 : float_to_bits(logit);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
TANDEM_HD float logit_of(std::uint32_t key) {
  return bits_to_float(key >> 31 != 0 ? key & 0x7fffffffu : ~key);
}
TANDEM_HD bool is_finite(float logit) {
  return (float_to_bits(logit) & 0x7f800000u) != 0x7f800000u;
}

/// The larger key first, then the lower token.
TANDEM_HD std::uint64_t place_of(std::uint32_t key, std::int64_t token) {
  return std::uint64_t{key} << 32 | (0xffffffffu - static_cast<std::uint32_t>(token));
}
TANDEM_HD std::uint32_t key_at(std::uint64_t place) {
  return static_cast<std::uint32_t>(place >> 32);
}
TANDEM_HD std::int32_t token_at(std::uint64_t place) {
  return static_cast<std::int32_t>(0xffffffffu - static_cast<std::uint32_t>(place));
}

TANDEM_HD float penalised(float logit, float penalty) {
  constexpr float kMost = 3.402823466e+38f;  // an extreme penalty makes no infinity, whose differences are NaN
  const float x = logit < 0 ? logit * penalty : logit / penalty;
  return x > kMost ? kMost : x < -kMost ? -kMost : x;
}

/// e^x for x <= 0 to a unit in the last place, 0 below -87 and for NaN.
TANDEM_HD float exp_of(float x) {
  if (!(x >= -87.0f)) return 0.0f;
  const float n = rintf(x * 1.44269504f);
  const float r = fmaf(n, -1.42860677e-6f, fmaf(n, -0x1.62e4p-1f, x));  // ln 2 in two parts, n times the first is exact
  float p = 1.0f / 5040;
  p = fmaf(p, r, 1.0f / 720);
  p = fmaf(p, r, 1.0f / 120);
  p = fmaf(p, r, 1.0f / 24);
  p = fmaf(p, r, 1.0f / 6);
  p = fmaf(p, r, 0.5f);
  p = fmaf(p, r, 1.0f);
  p = fmaf(p, r, 1.0f);
  return p * bits_to_float(static_cast<std::uint32_t>(static_cast<int>(n) + 127) << 23);
}

/// Relative to the likeliest token, which weighs 1. Divided after the difference, as sample() does.
TANDEM_HD float weight_of(std::uint32_t key, float largest, float temperature) {
  return exp_of((logit_of(key) - largest) / temperature);
}
/// A weight as a number of 2^-44.
TANDEM_HD std::uint64_t mass_of(float weight) {
  return static_cast<std::uint64_t>(weight * 0x1p44f);
}

/// floor(a * b / 2^64)
TANDEM_HD std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
#if defined(__CUDA_ARCH__)
  return __umul64hi(a, b);
#else
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((Wide{a} * b) >> 64);
#endif
}

/// The least mass that reaches the share top_p < 1 of the total; at least 1.
TANDEM_HD std::uint64_t mass_to_reach(float top_p, std::uint64_t total) {
  const auto share = static_cast<std::uint64_t>(top_p * 0x1p64f);
  const std::uint64_t mass = multiply_high(share, total) + (share * total != 0 ? 1 : 0);
  return mass > 0 ? mass : 1;
}

TANDEM_HD bool matches(std::uint32_t key, std::uint32_t prefix, int level) {
  return level == 0 || (key ^ prefix) >> (32 - 8 * level) == 0;
}
TANDEM_HD int bin_of(std::uint32_t key, int level) {
  return static_cast<int>(key >> (24 - 8 * level) & 0xff);
}

}  // namespace tandem::sampling
