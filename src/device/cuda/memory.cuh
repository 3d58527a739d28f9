#pragma once
// Instructions of memory and time that C++ has no words for. Those at system scope order what GPUs and the host see.

#include <cuda_runtime.h>

#include <cstdint>

namespace tandem::cuda {

/// The block's dynamic shared memory, aligned to 16.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ uint4 dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}

__device__ inline std::uint32_t load_relaxed(const std::uint32_t* from) {
  std::uint32_t value;
  asm volatile("ld.relaxed.sys.b32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}
__device__ inline std::uint32_t load_acquire(const std::uint32_t* from) {
  std::uint32_t value;
  asm volatile("ld.acquire.sys.b32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}
__device__ inline void store_relaxed(std::uint32_t* to, std::uint32_t value) {
  asm volatile("st.relaxed.sys.b32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}
__device__ inline void store_release(std::uint32_t* to, std::uint32_t value) {
  asm volatile("st.release.sys.b32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}

/// 16 bytes at system scope, relaxed. Halves of eight bytes arrive whole, or words of four.
__device__ inline void store_halves(void* to, ulonglong2 halves) {
  asm volatile("st.relaxed.sys.v2.b64 [%0], {%1, %2};" ::"l"(to), "l"(halves.x), "l"(halves.y) : "memory");
}
__device__ inline void store_words(void* to, uint4 words) {
  asm volatile("st.relaxed.sys.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(words.x), "r"(words.y), "r"(words.z),
               "r"(words.w)
               : "memory");
}
__device__ inline ulonglong2 load_halves(const void* from) {
  ulonglong2 halves;
  asm volatile("ld.relaxed.sys.v2.b64 {%0, %1}, [%2];" : "=l"(halves.x), "=l"(halves.y) : "l"(from) : "memory");
  return halves;
}
__device__ inline uint4 load_words(const void* from) {
  uint4 words;
  asm volatile("ld.relaxed.sys.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
               : "l"(from)
               : "memory");
  return words;
}

/// Between what is stored before it and what is loaded or stored after it.
__device__ inline void fence_system() {
  asm volatile("fence.acq_rel.sys;" ::: "memory");
}

/// A clock of the GPU.
__device__ inline std::uint64_t global_nanoseconds() {
  std::uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

/// 16 bytes that no kernel writes and none reads again, or zeros, and `from` is not read. It stays before a wait for
/// earlier kernels that is written behind it.
__device__ inline uint4 load16_once(const void* from, bool is_read) {
  uint4 words;
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %5, 0;\nmov.b32 %0, 0;\nmov.b32 %1, 0;\nmov.b32 %2, 0;\nmov.b32 %3, 0;\n"
      "@p ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];\n}"
      : "=&r"(words.x), "=&r"(words.y), "=&r"(words.z), "=&r"(words.w)
      : "l"(from), "r"(static_cast<int>(is_read)));
  return words;
}
/// 16 bytes, or zeros, and `from` is not read. It stays behind a wait for earlier kernels that is written before it.
__device__ inline uint4 load16_or_zeros(const void* from, bool is_read) {
  uint4 words;
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %5, 0;\nmov.b32 %0, 0;\nmov.b32 %1, 0;\nmov.b32 %2, 0;\nmov.b32 %3, 0;\n"
      "@p ld.global.v4.u32 {%0,%1,%2,%3}, [%4];\n}"
      : "=&r"(words.x), "=&r"(words.y), "=&r"(words.z), "=&r"(words.w)
      : "l"(from), "r"(static_cast<int>(is_read)));
  return words;
}
/// The same, eight bytes from each place.
__device__ inline uint4 load8_8_or_zeros(const void* low, const void* high, bool is_read) {
  uint4 words;
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\nmov.b32 %0, 0;\nmov.b32 %1, 0;\nmov.b32 %2, 0;\nmov.b32 %3, 0;\n"
      "@p ld.global.v2.u32 {%0,%1}, [%4];\n@p ld.global.v2.u32 {%2,%3}, [%5];\n}"
      : "=&r"(words.x), "=&r"(words.y), "=&r"(words.z), "=&r"(words.w)
      : "l"(low), "l"(high), "r"(static_cast<int>(is_read)));
  return words;
}

}  // namespace tandem::cuda
