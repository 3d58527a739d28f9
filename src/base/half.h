#pragma once
// The 16-bit float types as storage, and their conversions. Round to nearest even; NaN stays NaN.

#include <bit>
#include <cstdint>

namespace tandem {

struct F16 {
  std::uint16_t bits;
};
struct BF16 {
  std::uint16_t bits;
};

inline float to_float(float x) {
  return x;
}
inline float to_float(BF16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
inline float to_float(F16 x) {
#if defined(__FLT16_MAX__)
  return static_cast<float>(std::bit_cast<_Float16>(x.bits));
#else
  // Shift the fraction into place and let one multiplication rebias the exponent, subnormals included.
  const std::uint32_t magnitude = static_cast<std::uint32_t>(x.bits & 0x7fff) << 13;
  const std::uint32_t sign = static_cast<std::uint32_t>(x.bits & 0x8000) << 16;
  const float scaled = (x.bits & 0x7c00) == 0x7c00 ? std::bit_cast<float>(magnitude | 0x7f800000u)
                                                   : std::bit_cast<float>(magnitude) * 0x1p112f;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | sign);
#endif
}

inline BF16 to_bf16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40)};  // quiet NaN
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
}

F16 to_f16(float x);

/// from_float<T>(x): x rounded to T, one of float, F16, BF16.
template <class T>
T from_float(float x);
template <>
inline float from_float<float>(float x) {
  return x;
}
template <>
inline BF16 from_float<BF16>(float x) {
  return to_bf16(x);
}
template <>
inline F16 from_float<F16>(float x) {
  return to_f16(x);
}

}  // namespace tandem
