#pragma once
// Eight elements of a block at a time, for kernels on GPUs: the meaning of dequantise_row (dequantise.cc describes the
// blocks), for host and device, so that tests compare the two on any machine.
//
// Each format is a type with
//   kSize, kBytes         elements and bytes a block
//   decode8(out, p, i)    out[0, 8) = elements [i, i + 8) of the block at p; i is a multiple of 8
// Blocks lie at even addresses: all have an even number of bytes, but most are no multiple of four.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "base/host_device.h"

namespace tandem::blocks {

TANDEM_HD std::uint32_t load_u16(const std::byte* p) {
#if defined(__CUDA_ARCH__)
  return *reinterpret_cast<const std::uint16_t*>(p);
#else
  std::uint16_t x;
  std::memcpy(&x, p, sizeof(x));
  return x;
#endif
}
TANDEM_HD std::uint32_t load_u32(const std::byte* p) {
  return load_u16(p) | load_u16(p + 2) << 16;
}
TANDEM_HD float load_f16(const std::byte* p) {
  return f16_to_float(static_cast<std::uint16_t>(load_u16(p)));
}
TANDEM_HD int load_u8(const std::byte* p) {
  return static_cast<int>(*p);
}
TANDEM_HD int load_i8(const std::byte* p) {
  return static_cast<std::int8_t>(*p);
}

/// Eight bytes, as bytes.
struct Bytes8 {
  std::uint32_t words[2];
  TANDEM_HD explicit Bytes8(const std::byte* p) : words{load_u32(p), load_u32(p + 4)} {}
  /// `count` bits of byte k, from `shift` on.
  TANDEM_HD int bits(int k, int shift, int count) const {
    return static_cast<int>(words[k / 4] >> (k % 4 * 8 + shift)) & ((1 << count) - 1);
  }
};

/// Elements [i, i + 8) of 32 in 16 bytes, whose low halves are the first 16.
struct Nibbles8 {
  Bytes8 bytes;
  int shift;
  TANDEM_HD Nibbles8(const std::byte* p, int i) : bytes(p + i % 16), shift(i / 16 * 4) {}
  TANDEM_HD int operator[](int k) const { return bytes.bits(k, shift, 4); }
};

struct Q4_0 {
  static constexpr int kSize = 32, kBytes = 18;
  TANDEM_HD static void decode8(float (&out)[8], const std::byte* p, int i) {
    const float d = load_f16(p);
    const Nibbles8 low(p + 2, i);
    TANDEM_UNROLL
    for (int k = 0; k < 8; ++k) out[k] = d * static_cast<float>(low[k] - 8);
  }
};

struct Q4_1 {
  static constexpr int kSize = 32, kBytes = 20;
  TANDEM_HD static void decode8(float (&out)[8], const std::byte* p, int i) {
    const float d = load_f16(p), m = load_f16(p + 2);
    const Nibbles8 low(p + 4, i);
    TANDEM_UNROLL
    for (int k = 0; k < 8; ++k) out[k] = d * static_cast<float>(low[k]) + m;
  }
};

struct Q5_0 {
  static constexpr int kSize = 32, kBytes = 22;
  TANDEM_HD static void decode8(float (&out)[8], const std::byte* p, int i) {
    const float d = load_f16(p);
    const std::uint32_t high = load_u32(p + 2) >> i;
    const Nibbles8 low(p + 6, i);
    TANDEM_UNROLL
    for (int k = 0; k < 8; ++k) {
      out[k] = d * static_cast<float>((low[k] | static_cast<int>((high >> k) & 1) << 4) - 16);
    }
  }
};

struct Q5_1 {
  static constexpr int kSize = 32, kBytes = 24;
  TANDEM_HD static void decode8(float (&out)[8], const std::byte* p, int i) {
    const float d = load_f16(p), m = load_f16(p + 2);
    const std::uint32_t high = load_u32(p + 4) >> i;
    const Nibbles8 low(p + 8, i);
    TANDEM_UNROLL
    for (int k = 0; k < 8; ++k) out[k] = d * static_cast<float>(low[k] | static_cast<int>((high >> k) & 1) << 4) + m;
  }
};

struct Q8_0 {
  static constexpr int kSize = 32, kBytes = 34;
  TANDEM_HD static void decode8(float (&out)[8], const std::byte* p, int i) {
    const float d = load_f16(p);
    const Bytes8 bytes(p + 2 + i);
    TANDEM_UNROLL
    for (int k = 0; k < 8; ++k) out[k] = d * static_cast<float>(static_cast<std::int8_t>(bytes.bits(k, 0, 8)));
  }
};

/// The factor and the minimum of sub-block `sub` of a Q4_K or Q5_K block: x = scale * q - min.
struct ScaleMin {
  float scale, min;
};
TANDEM_HD ScaleMin scale_min(const std::byte* p, int sub) {
  const std::byte* s = p + 4;
  int scale = 0, min = 0;
  if (sub < 4) {
    scale = load_u8(s + sub) & 63;
    min = load_u8(s + sub + 4) & 63;
  } else {
    scale = (load_u8(s + sub + 4) & 15) | (load_u8(s + sub - 4) >> 6) << 4;
    min = (load_u8(s + sub + 4) >> 4) | (load_u8(s + sub) >> 6) << 4;
  }
  return {load_f16(p) * static_cast<float>(scale), load_f16(p + 2) * static_cast<float>(min)};
}

struct Q4_K {
  static constexpr int kSize = 256, kBytes = 144;
  TANDEM_HD static void decode8(float (&out)[8], const std::byte* p, int i) {
    const int sub = i / 32;
    const ScaleMin s = scale_min(p, sub);
    const Bytes8 low(p + 16 + sub / 2 * 32 + i % 32);
    TANDEM_UNROLL
    for (int k = 0; k < 8; ++k) out[k] = s.scale * static_cast<float>(low.bits(k, sub % 2 * 4, 4)) - s.min;
  }
};

struct Q5_K {
  static constexpr int kSize = 256, kBytes = 176;
  TANDEM_HD static void decode8(float (&out)[8], const std::byte* p, int i) {
    const int sub = i / 32;
    const ScaleMin s = scale_min(p, sub);
    const Bytes8 high(p + 16 + i % 32), low(p + 48 + sub / 2 * 32 + i % 32);
    TANDEM_UNROLL
    for (int k = 0; k < 8; ++k) {
      const int q = low.bits(k, sub % 2 * 4, 4) | high.bits(k, sub, 1) << 4;
      out[k] = s.scale * static_cast<float>(q) - s.min;
    }
  }
};

struct Q6_K {
  static constexpr int kSize = 256, kBytes = 210;
  TANDEM_HD static void decode8(float (&out)[8], const std::byte* p, int i) {
    const int half = i / 128, group = i / 32 % 4;
    const float scale = load_f16(p + 208) * static_cast<float>(load_i8(p + 192 + i / 16));
    const Bytes8 low(p + half * 64 + group % 2 * 32 + i % 32), high(p + 128 + half * 32 + i % 32);
    TANDEM_UNROLL
    for (int k = 0; k < 8; ++k) {
      const int q = low.bits(k, group / 2 * 4, 4) | high.bits(k, 2 * group, 2) << 4;
      out[k] = scale * static_cast<float>(q - 32);
    }
  }
};

/// with_format(dtype, [&]<class Format>() { ... }) for a quantised dtype; false, and no call, for any other.
template <class Body>
bool with_format(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kQ4_0:
      body.template operator()<Q4_0>();
      return true;
    case DType::kQ4_1:
      body.template operator()<Q4_1>();
      return true;
    case DType::kQ5_0:
      body.template operator()<Q5_0>();
      return true;
    case DType::kQ5_1:
      body.template operator()<Q5_1>();
      return true;
    case DType::kQ8_0:
      body.template operator()<Q8_0>();
      return true;
    case DType::kQ4_K:
      body.template operator()<Q4_K>();
      return true;
    case DType::kQ5_K:
      body.template operator()<Q5_K>();
      return true;
    case DType::kQ6_K:
      body.template operator()<Q6_K>();
      return true;
    default:
      return false;
  }
}

}  // namespace tandem::blocks
