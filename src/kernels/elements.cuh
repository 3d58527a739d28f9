#pragma once
// Elements of activations and weights on GPUs: conversions, loads of 16 bytes, sums of a block.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "base/dtype.h"

namespace tandem {

/// dispatch_activation(dtype, [&]<class T>() { return launch(...); }): T is float, __half or __nv_bfloat16.
template <class Body>
cudaError_t dispatch_activation(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kF32:
      return body.template operator()<float>();
    case DType::kF16:
      return body.template operator()<__half>();
    case DType::kBF16:
      return body.template operator()<__nv_bfloat16>();
    default:
      return cudaErrorInvalidValue;
  }
}

__device__ inline float as_float(float x) {
  return x;
}
__device__ inline float as_float(__half x) {
  return __half2float(x);
}
__device__ inline float as_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}

/// Rounds to nearest even.
template <class T>
__device__ T rounded(float x) {
  if constexpr (std::is_same_v<T, __half>) {
    return __float2half_rn(x);
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(x);
  } else {
    return x;
  }
}

/// As many elements as 16 bytes hold; memory is loaded and stored in these where it is aligned to them.
template <class T>
struct alignas(16) Elements16 {
  static constexpr int kCount = 16 / sizeof(T);
  T values[kCount];
};
inline bool is_aligned16(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
}
template <class T>
__device__ Elements16<T> load16(const T* from) {
  return *reinterpret_cast<const Elements16<T>*>(from);
}
template <class T>
__device__ void store16(T* to, const Elements16<T>& elements) {
  *reinterpret_cast<Elements16<T>*>(to) = elements;
}

/// The sum over a warp, in every lane; the same bits in all.
__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}
__device__ inline float warp_max(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lanes));
  return x;
}
__device__ inline std::uint64_t warp_max(std::uint64_t x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const std::uint64_t other = __shfl_xor_sync(0xffffffffu, static_cast<unsigned long long>(x), lanes);
    if (other > x) x = other;
  }
  return x;
}

/// The sum over a block of whole warps, in every thread, in an order of its own. All threads call it; again only after
/// a __syncthreads().
__device__ inline float block_sum(float x) {
  __shared__ float sums[32];
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  __syncthreads();
  x = threadIdx.x % 32 < blockDim.x / 32 ? sums[threadIdx.x % 32] : 0;
  return warp_sum(x);
}

}  // namespace tandem
