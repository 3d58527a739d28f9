#pragma once
// Sixteen bytes, the unit in which protocols move data, and sums of elements in them. For host and device.

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "base/half.h"
#include "base/host_device.h"

namespace tandem {

struct alignas(16) Pack {
  std::uint32_t words[4];
  bool operator==(const Pack&) const = default;
};

inline constexpr std::int64_t kPackBytes = sizeof(Pack);

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
/// The functions give the same bits on host and device, but for the payload of an f16 NaN.
template <DType kDType>
struct PackElements;

template <>
struct PackElements<DType::kF32> {
  static constexpr int kCount = 4;
  using Sum = float;
  TANDEM_HD static Sum get(const Pack& pack, int i) { return bits_to_float(pack.words[i]); }
  TANDEM_HD static Pack round(const Sum (&x)[kCount]) {
    return {{float_to_bits(x[0]), float_to_bits(x[1]), float_to_bits(x[2]), float_to_bits(x[3])}};
  }
};

template <>
struct PackElements<DType::kI32> {
  static constexpr int kCount = 4;
  using Sum = std::uint32_t;
  TANDEM_HD static Sum get(const Pack& pack, int i) { return pack.words[i]; }
  TANDEM_HD static Pack round(const Sum (&x)[kCount]) { return {{x[0], x[1], x[2], x[3]}}; }
};

template <>
struct PackElements<DType::kBF16> {
  static constexpr int kCount = 8;
  using Sum = float;
  TANDEM_HD static Sum get(const Pack& pack, int i) {
    const std::uint32_t word = pack.words[i / 2];
    return bits_to_float(i % 2 == 0 ? word << 16 : word & 0xffff0000u);
  }
  /// To nearest even; every NaN to 0x7fff, as the GPU's instruction does.
  TANDEM_HD static Pack round(const Sum (&x)[kCount]) {
    Pack pack;
    TANDEM_UNROLL
    for (int w = 0; w < 4; ++w) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pack.words[w]) : "f"(x[2 * w + 1]), "f"(x[2 * w]));
#else
      pack.words[w] = round_one(x[2 * w]) | round_one(x[2 * w + 1]) << 16;
#endif
    }
    return pack;
  }

 private:
  TANDEM_HD static std::uint32_t round_one(float x) {
    const std::uint32_t bits = float_to_bits(x);
    return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
  }
};

template <>
struct PackElements<DType::kF16> {
  static constexpr int kCount = 8;
  using Sum = float;
  TANDEM_HD static Sum get(const Pack& pack, int i) {
    return f16_to_float(static_cast<std::uint16_t>(pack.words[i / 2] >> (i % 2 * 16)));
  }
  /// To nearest even.
  TANDEM_HD static Pack round(const Sum (&x)[kCount]) {
    Pack pack;
    TANDEM_UNROLL
    for (int w = 0; w < 4; ++w) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
      asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pack.words[w]) : "f"(x[2 * w + 1]), "f"(x[2 * w]));
#else
      pack.words[w] = round_one(x[2 * w]) | static_cast<std::uint32_t>(round_one(x[2 * w + 1])) << 16;
#endif
    }
    return pack;
  }

 private:
  TANDEM_HD static std::uint16_t round_one(float x) {
#if defined(__CUDA_ARCH__)
    std::uint16_t half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(x));
    return half;
#else
    return to_f16(x).bits;
#endif
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
  TANDEM_HD Pack result() const { return Elements::round(sums_); }

 private:
  typename Elements::Sum sums_[Elements::kCount] = {};
};

}  // namespace tandem
