#pragma once
// src/device/cuda/memory.cuh on emulated GPUs: it comes first on the include path. A relaxed load is a poll.

#include <cuda_runtime.h>

#include <chrono>

namespace tandem::cuda {

template <class T>
T* dynamic_shared() {
  return static_cast<T*>(emulation::dynamic_shared());
}

namespace memory_detail {
template <class T>
T load(const void* from, std::memory_order order) {
  return std::atomic_ref<T>(*static_cast<T*>(const_cast<void*>(from))).load(order);
}
template <class T>
void store(void* to, T value, std::memory_order order) {
  std::atomic_ref<T>(*static_cast<T*>(to)).store(value, order);
}
}  // namespace memory_detail

inline std::uint32_t load_relaxed(const std::uint32_t* from) {
  emulation::poll();
  return memory_detail::load<std::uint32_t>(from, std::memory_order_relaxed);
}
inline std::uint32_t load_acquire(const std::uint32_t* from) {
  emulation::poll();
  return memory_detail::load<std::uint32_t>(from, std::memory_order_acquire);
}
inline void store_relaxed(std::uint32_t* to, std::uint32_t value) {
  memory_detail::store(to, value, std::memory_order_relaxed);
}
inline void store_release(std::uint32_t* to, std::uint32_t value) {
  memory_detail::store(to, value, std::memory_order_release);
}

inline void store_halves(void* to, ulonglong2 halves) {
  memory_detail::store(to, halves.x, std::memory_order_relaxed);
  memory_detail::store(static_cast<std::byte*>(to) + 8, halves.y, std::memory_order_relaxed);
}
inline void store_words(void* to, uint4 words) {
  const unsigned word[] = {words.x, words.y, words.z, words.w};
  for (int i = 0; i < 4; ++i) {
    memory_detail::store(static_cast<std::byte*>(to) + 4 * i, word[i], std::memory_order_relaxed);
  }
}
inline ulonglong2 load_halves(const void* from) {
  emulation::poll();
  using Half = unsigned long long;
  const auto* bytes = static_cast<const std::byte*>(from);
  return {memory_detail::load<Half>(bytes, std::memory_order_relaxed),
          memory_detail::load<Half>(bytes + 8, std::memory_order_relaxed)};
}
inline uint4 load_words(const void* from) {
  emulation::poll();
  unsigned word[4];
  for (int i = 0; i < 4; ++i) {
    word[i] = memory_detail::load<unsigned>(static_cast<const std::byte*>(from) + 4 * i, std::memory_order_relaxed);
  }
  return {word[0], word[1], word[2], word[3]};
}

inline void fence_system() {
  std::atomic_thread_fence(std::memory_order_acq_rel);
}

inline std::uint64_t global_nanoseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

inline uint4 load16_or_zeros(const void* from, bool is_read) {
  if (!is_read) return {};
  if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0) emulation::fail("16 bytes are read that are not aligned");
  uint4 words;
  std::memcpy(&words, from, sizeof(words));
  return words;
}
inline uint4 load16_once(const void* from, bool is_read) {
  return load16_or_zeros(from, is_read);
}
inline uint4 load8_8_or_zeros(const void* low, const void* high, bool is_read) {
  if (!is_read) return {};
  if ((reinterpret_cast<std::uintptr_t>(low) | reinterpret_cast<std::uintptr_t>(high)) % 8 != 0) {
    emulation::fail("8 bytes are read that are not aligned");
  }
  uint4 words;
  std::memcpy(&words.x, low, 8);
  std::memcpy(&words.z, high, 8);
  return words;
}

}  // namespace tandem::cuda
