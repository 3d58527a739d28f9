#pragma once
// Sixteen bytes, the unit in which protocols move data, and sums of elements in them. For host and device.

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "base/half.h"

#if defined(__CUDACC__)
#define TANDEM_HD __host__ __device__ inline
#define TANDEM_UNROLL _Pragma("unroll")
#else
#define TANDEM_HD inline
#define TANDEM_UNROLL
#endif

namespace tandem {

struct alignas(16) Pack {
  std::uint32_t words[4];
  bool operator==(const Pack&) const = default;
};

inline constexpr std::int64_t kPackBytes = sizeof(Pack);

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

/// A caller's bytes as packs: the last one perhaps in part, at any address.
struct ConstView {
  const std::byte* data = nullptr;
  std::int64_t bytes = 0;

  TANDEM_HD std::int64_t num_packs() const { return (bytes + kPackBytes - 1) / kPackBytes; }
  TANDEM_HD bool whole(std::int64_t index) const {
    return reinterpret_cast<std::uintptr_t>(data) % kPackBytes == 0 && (index + 1) * kPackBytes <= bytes;
  }
  /// Bytes beyond the end read as zero.
  TANDEM_HD Pack load(std::int64_t index) const {
    const std::byte* from = data + index * kPackBytes;
    if (whole(index)) return *reinterpret_cast<const Pack*>(from);
    Pack pack{};
    const std::int64_t rest = bytes - index * kPackBytes;
    TANDEM_UNROLL
    for (int i = 0; i < kPackBytes; ++i) {
      if (i < rest) pack.words[i / 4] |= static_cast<std::uint32_t>(from[i]) << (i % 4 * 8);
    }
    return pack;
  }
};

struct View {
  std::byte* data = nullptr;
  std::int64_t bytes = 0;

  TANDEM_HD ConstView as_const() const { return {data, bytes}; }
  /// Bytes beyond the end are not written.
  TANDEM_HD void store(std::int64_t index, const Pack& pack) const {
    std::byte* to = data + index * kPackBytes;
    if (as_const().whole(index)) {
      *reinterpret_cast<Pack*>(to) = pack;
      return;
    }
    const std::int64_t rest = bytes - index * kPackBytes;
    TANDEM_UNROLL
    for (int i = 0; i < kPackBytes; ++i) {
      if (i < rest) to[i] = static_cast<std::byte>(pack.words[i / 4] >> (i % 4 * 8));
    }
  }
};

/// Elements of one dtype in a pack, and the type in which they are summed: f32 for floats, 32 bits modulo 2^32 for i32.
/// The functions give the same bits on host and device.
template <DType kDType>
struct PackElements;

template <>
struct PackElements<DType::kF32> {
  static constexpr int kCount = 4;
  using Sum = float;
  TANDEM_HD static Sum get(const Pack& pack, int i) { return bits_to_float(pack.words[i]); }
  TANDEM_HD static void set(Pack& pack, int i, Sum x) { pack.words[i] = float_to_bits(x); }
};

template <>
struct PackElements<DType::kI32> {
  static constexpr int kCount = 4;
  using Sum = std::uint32_t;
  TANDEM_HD static Sum get(const Pack& pack, int i) { return pack.words[i]; }
  TANDEM_HD static void set(Pack& pack, int i, Sum x) { pack.words[i] = x; }
};

template <>
struct PackElements<DType::kBF16> {
  static constexpr int kCount = 8;
  using Sum = float;
  TANDEM_HD static Sum get(const Pack& pack, int i) {
    const std::uint32_t word = pack.words[i / 2];
    return bits_to_float(i % 2 == 0 ? word << 16 : word & 0xffff0000u);
  }
  TANDEM_HD static void set(Pack& pack, int i, Sum x) {
    const std::uint32_t bits = float_to_bits(x);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    const std::uint32_t half = nan ? (bits >> 16) | 0x40 : (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
    set_half(pack, i, half);
  }
  TANDEM_HD static void set_half(Pack& pack, int i, std::uint32_t half) {
    std::uint32_t& word = pack.words[i / 2];
    word = i % 2 == 0 ? half : (word & 0xffffu) | half << 16;  // elements are set in order
  }
};

template <>
struct PackElements<DType::kF16> {
  static constexpr int kCount = 8;
  using Sum = float;
  TANDEM_HD static Sum get(const Pack& pack, int i) {
    const auto half = static_cast<std::uint16_t>(pack.words[i / 2] >> (i % 2 * 16));
#if defined(__CUDA_ARCH__)
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(half));
    return x;
#else
    return to_float(F16{half});
#endif
  }
  TANDEM_HD static void set(Pack& pack, int i, Sum x) {
#if defined(__CUDA_ARCH__)
    std::uint16_t half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(x));
#else
    const std::uint16_t half = to_f16(x).bits;
#endif
    PackElements<DType::kBF16>::set_half(pack, i, half);
  }
};

/// Sums packs of one dtype in the order in which they are added.
template <DType kDType>
class PackSum {
 public:
  using Elements = PackElements<kDType>;

  TANDEM_HD void add(const Pack& pack) {
    TANDEM_UNROLL
    for (int i = 0; i < Elements::kCount; ++i) sums_[i] += Elements::get(pack, i);
  }
  /// Rounded once, to nearest even.
  TANDEM_HD Pack result() const {
    Pack pack{};
    TANDEM_UNROLL
    for (int i = 0; i < Elements::kCount; ++i) Elements::set(pack, i, sums_[i]);
    return pack;
  }

 private:
  typename Elements::Sum sums_[Elements::kCount] = {};
};

}  // namespace tandem
