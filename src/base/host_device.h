#pragma once
// For functions that compile for host and device.

#include <bit>
#include <cstdint>

#include "base/half.h"

#if defined(__CUDACC__)
#define TANDEM_HD __host__ __device__ inline
#define TANDEM_UNROLL _Pragma("unroll")
#else
#define TANDEM_HD inline
#define TANDEM_UNROLL
#endif

namespace tandem {

TANDEM_HD float bits_to_float(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}
TANDEM_HD std::uint32_t float_to_bits(float x) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(x);
#else
  return std::bit_cast<std::uint32_t>(x);
#endif
}
/// The same bits on host and device, but for the payload of a NaN.
TANDEM_HD float f16_to_float(std::uint16_t bits) {
#if defined(__CUDA_ARCH__)
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
#else
  return to_float(F16{bits});
#endif
}

}  // namespace tandem
