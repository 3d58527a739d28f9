#pragma once
// Tensor cores, asynchronous copies and the like, a function an instruction; all but exp2_approx are of sm_80 and
// later. In the words below a lane is g = lane / 4 and c = lane % 4; two neighbouring elements of 16 bits share a
// register, the lower one first.

#include <cstdint>

#include "kernels/elements.cuh"

namespace tandem {

/// 2^x within 2^-22; 0 below 2^-126.
__device__ inline float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Two floats rounded to T, `low` in the lower half.
template <class T>
__device__ std::uint32_t packed(float low, float high) {
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  }
}

/// d += a b for a of 16 rows by 16, b of 16 by 8 columns. A lane holds
///   a  (row g, cols 2c, 2c + 1), (row g + 8, same), (row g, cols 2c + 8, 2c + 9), (row g + 8, same)
///   b  (rows 2c, 2c + 1, col g), (rows 2c + 8, 2c + 9, col g)
///   d  (row g, cols 2c and 2c + 1), (row g + 8, same)
template <class T>
__device__ void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, __half>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
#endif
}

/// An 8 by 8 matrix, of which a lane holds (row g, cols 2c, 2c + 1), transposed.
__device__ inline std::uint32_t transposed(std::uint32_t x) {
  std::uint32_t y;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

/// Four 8 by 8 matrices of shared memory; lane i names row i % 8 of matrix i / 8, 16 bytes. A lane gets (row g, cols
/// 2c, 2c + 1) of each.
__device__ inline void load_matrices(std::uint32_t (&to)[4], const uint4* row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}
/// The same, each transposed.
__device__ inline void load_matrices_transposed(std::uint32_t (&to)[4], const uint4* row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}

/// Starts to copy 16 bytes of device memory to shared memory; zeros, and `from` is not read, unless `is_read`.
__device__ inline void start_copy16(uint4* to, const void* from, bool is_read) {
#if __CUDA_ARCH__ >= 800
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(is_read ? 16 : 0)
               : "memory");
#endif
}
/// Waits for the copies that this thread has started.
__device__ inline void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

}  // namespace tandem
