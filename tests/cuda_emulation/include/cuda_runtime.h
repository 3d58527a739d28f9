#pragma once
// What kernels call of CUDA, on emulated GPUs (README.md).

#include <sched.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda_runtime_api.h"
#include "tests/cuda_emulation/grid.h"

namespace tandem::emulation {

/// What the lanes of a warp gave.
template <class T>
class Lanes {
 public:
  Lanes(unsigned mask, WarpFunction function, const T& value) : mask_(mask) {
    static_assert(sizeof(T) <= kExchangeBytes && std::is_trivially_copyable_v<T>);
    values_ = exchange(mask, function, &value, sizeof(T));
  }
  T operator[](unsigned lane) const {
    if ((mask_ >> lane & 1) == 0) fail("a lane reads from one that takes no part");
    T value;
    std::memcpy(&value, values_ + lane * kExchangeBytes, sizeof(T));
    return value;
  }

 private:
  unsigned mask_;
  const std::byte* values_;
};

inline unsigned lane() {
  return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
}

}  // namespace tandem::emulation

template <class T>
T __shfl_sync(unsigned mask, T x, int from, int width = 32) {
  const tandem::emulation::Lanes<T> lanes(mask, tandem::emulation::WarpFunction::kShuffle, x);
  const unsigned lane = tandem::emulation::lane(), group = static_cast<unsigned>(width);
  return lanes[lane / group * group + static_cast<unsigned>(from) % group];
}
template <class T>
T __shfl_xor_sync(unsigned mask, T x, int lane_mask) {
  const tandem::emulation::Lanes<T> lanes(mask, tandem::emulation::WarpFunction::kShuffle, x);
  return lanes[(tandem::emulation::lane() ^ static_cast<unsigned>(lane_mask)) % 32];
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned distance) {
  const tandem::emulation::Lanes<T> lanes(mask, tandem::emulation::WarpFunction::kShuffle, x);
  const unsigned lane = tandem::emulation::lane();
  return lanes[lane >= distance ? lane - distance : lane];
}
inline unsigned __ballot_sync(unsigned mask, bool vote) {
  const tandem::emulation::Lanes<bool> lanes(mask, tandem::emulation::WarpFunction::kVote, vote);
  unsigned votes = 0;
  for (unsigned i = 0; i < 32; ++i) {
    if ((mask >> i & 1) != 0 && lanes[i]) votes |= 1u << i;
  }
  return votes;
}
inline int __all_sync(unsigned mask, bool vote) {
  return __ballot_sync(mask, !vote) == 0;
}
inline int __any_sync(unsigned mask, bool vote) {
  return __ballot_sync(mask, vote) != 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  tandem::emulation::Lanes<bool>(mask, tandem::emulation::WarpFunction::kSync, true);
}
inline void __syncthreads() {
  tandem::emulation::sync_block(true);
}
inline int __syncthreads_and(int vote) {
  return tandem::emulation::sync_block(vote != 0).all;
}
inline int __syncthreads_or(int vote) {
  return tandem::emulation::sync_block(vote != 0).any;
}
inline void __threadfence() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
inline void __threadfence_system() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
inline void __nanosleep(unsigned) {
  tandem::emulation::poll();
}

template <class T>
T __ldcg(const T* from) {
  return *from;
}
template <class T>
T atomicAdd(T* to, T x) {
  return std::atomic_ref<T>(*to).fetch_add(x);
}
template <class T>
T atomicOr(T* to, T x) {
  return std::atomic_ref<T>(*to).fetch_or(x);
}
template <class T>
T atomicCAS(T* to, T expected, T x) {
  std::atomic_ref<T>(*to).compare_exchange_strong(expected, x);
  return expected;
}
template <class T>
T atomicMax(T* to, T x) {
  const std::atomic_ref<T> place(*to);
  T now = place.load();
  while (now < x && !place.compare_exchange_weak(now, x)) {
  }
  return now;
}

template <class T, class U>
std::common_type_t<T, U> min(T a, U b) {
  return b < a ? b : a;
}
template <class T, class U>
std::common_type_t<T, U> max(T a, U b) {
  return a < b ? b : a;
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fsub_rn(float a, float b) {
  return a - b;
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const std::uint64_t bytes = std::uint64_t{high} << 32 | low;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i)
    result |= static_cast<unsigned>(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
  return result;
}
/// A shared address is what instructions.cuh passes on; nothing here takes one.
inline std::size_t __cvta_generic_to_shared(const void* place) {
  return reinterpret_cast<std::size_t>(place);
}
inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
