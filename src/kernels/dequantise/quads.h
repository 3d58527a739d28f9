#pragma once
// Quantised blocks as GPUs read them: a run of blocks is a run of steps of 32 columns, and the elements of a step are
// shared by four lanes. Lane `t` takes the quads of columns [4t, 4t + 4) and [16 + 4t, 16 + 4t + 4): so it reads few
// whole words in all formats, and each quad lies under one scale. The formats: dequantise.cc. For the host too, whose
// tests compare with dequantise_row.

#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "base/host_device.h"

namespace tandem {

inline constexpr int kStepCols = 32;
inline constexpr int kLanesOfStep = 4;

/// What a lane reads of a step; nothing is computed yet, so that many reads may be under way.
struct RawQuads {
  std::uint32_t q[2] = {0, 0};  ///< low bits
  std::uint32_t h[2] = {0, 0};  ///< high bits
  std::uint32_t scales = 0;     ///< of sub-blocks
  std::uint32_t d = 0;          ///< f16 scale, and above it the f16 offset
};

/// Element i of quad h: scale[h] * (byte i of bytes[h] - offset of the format) - min
struct Quads {
  std::uint32_t bytes[2];
  float scale[2];
  float min;
};

TANDEM_HD constexpr int quantised_block_bytes(DType type) {
  switch (type) {
    case DType::kQ4_0:
      return 18;
    case DType::kQ4_1:
      return 20;
    case DType::kQ5_0:
      return 22;
    case DType::kQ5_1:
      return 24;
    case DType::kQ8_0:
      return 34;
    case DType::kQ4_K:
      return 144;
    case DType::kQ5_K:
      return 176;
    case DType::kQ6_K:
      return 210;
    default:
      return 0;
  }
}

TANDEM_HD constexpr int quad_offset(DType type) {
  switch (type) {
    case DType::kQ4_0:
      return 8;
    case DType::kQ5_0:
      return 16;
    case DType::kQ6_K:
      return 32;
    case DType::kQ8_0:
      return 128;
    default:
      return 0;
  }
}

/// Rows must begin at multiples of this: 4 where blocks are multiples of 4 bytes, else 2.
TANDEM_HD constexpr int quad_alignment(DType type) {
  return quantised_block_bytes(type) % 4 == 0 ? 4 : 2;
}

TANDEM_HD std::uint32_t load_u16(const std::uint8_t* p) {
#if defined(__CUDA_ARCH__)
  return *reinterpret_cast<const std::uint16_t*>(p);
#else
  std::uint16_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
#endif
}

/// Four bytes at a multiple of kAlignment.
template <int kAlignment>
TANDEM_HD std::uint32_t load_u32(const std::uint8_t* p) {
#if defined(__CUDA_ARCH__)
  if constexpr (kAlignment % 4 == 0) return *reinterpret_cast<const std::uint32_t*>(p);
#endif
  return load_u16(p) | load_u16(p + 2) << 16;
}

TANDEM_HD float f16_value(std::uint32_t bits) {
  return f16_to_float(static_cast<std::uint16_t>(bits & 0xffff));
}

TANDEM_HD float signed_byte(std::uint32_t bits) {
  return static_cast<float>(static_cast<std::int8_t>(bits & 0xff));
}

/// Bit i of the four lowest into bit 4 of byte i.
TANDEM_HD std::uint32_t fifth_bits(std::uint32_t four) {
  return ((four & 15) * 0x00204081u & 0x01010101u) << 4;
}

/// `row` is the run of blocks, `step` one of its steps, `t` a lane.
template <DType kType>
TANDEM_HD RawQuads load_quads(const std::uint8_t* row, std::int64_t step, int t) {
  constexpr int kBytes = quantised_block_bytes(kType), kAlignment = quad_alignment(kType);
  constexpr bool kSuper = kType == DType::kQ4_K || kType == DType::kQ5_K || kType == DType::kQ6_K;
  const std::uint8_t* p = row + (kSuper ? step / 8 : step) * kBytes;
  const int sub = static_cast<int>(step % 8), at = 4 * t;
  RawQuads raw;
  if constexpr (kType == DType::kQ4_0) {
    raw.d = load_u16(p);
    raw.q[0] = load_u32<kAlignment>(p + 2 + at);
  } else if constexpr (kType == DType::kQ4_1) {
    raw.d = load_u32<kAlignment>(p);
    raw.q[0] = load_u32<kAlignment>(p + 4 + at);
  } else if constexpr (kType == DType::kQ5_0) {
    raw.d = load_u16(p);
    raw.h[0] = load_u32<kAlignment>(p + 2);
    raw.q[0] = load_u32<kAlignment>(p + 6 + at);
  } else if constexpr (kType == DType::kQ5_1) {
    raw.d = load_u32<kAlignment>(p);
    raw.h[0] = load_u32<kAlignment>(p + 4);
    raw.q[0] = load_u32<kAlignment>(p + 8 + at);
  } else if constexpr (kType == DType::kQ8_0) {
    raw.d = load_u16(p);
    raw.q[0] = load_u32<kAlignment>(p + 2 + at);
    raw.q[1] = load_u32<kAlignment>(p + 18 + at);
  } else if constexpr (kType == DType::kQ6_K) {
    const std::uint8_t* low = p + sub / 4 * 64 + sub % 2 * 32 + at;
    const std::uint8_t* high = p + 128 + sub / 4 * 32 + at;
    raw.d = load_u16(p + 208);
    raw.scales = load_u16(p + 192 + 2 * sub);
    for (int i = 0; i < 2; ++i) {
      raw.q[i] = load_u32<kAlignment>(low + 16 * i);
      raw.h[i] = load_u32<kAlignment>(high + 16 * i);
    }
  } else {  // Q4_K, Q5_K
    const std::uint8_t* low = p + (kType == DType::kQ5_K ? 48 : 16) + sub / 2 * 32 + at;
    raw.d = load_u32<kAlignment>(p);
    raw.scales = p[4 + sub % 4] | p[8 + sub % 4] << 8 | p[12 + sub % 4] << 16;
    for (int i = 0; i < 2; ++i) {
      raw.q[i] = load_u32<kAlignment>(low + 16 * i);
      if constexpr (kType == DType::kQ5_K) raw.h[i] = load_u32<kAlignment>(p + 16 + at + 16 * i);
    }
  }
  return raw;
}

/// With the step and the lane of load_quads.
template <DType kType>
TANDEM_HD Quads unpack_quads(const RawQuads& raw, std::int64_t step, int t) {
  constexpr std::uint32_t kLow4 = 0x0f0f0f0f;
  const int sub = static_cast<int>(step % 8);
  const float d = f16_value(raw.d);
  if constexpr (kType == DType::kQ8_0) {  // signed bytes, 128 above what they are
    return {{raw.q[0] ^ 0x80808080u, raw.q[1] ^ 0x80808080u}, {d, d}, 0};
  } else if constexpr (kType == DType::kQ6_K) {
    Quads quads{{0, 0}, {d * signed_byte(raw.scales), d * signed_byte(raw.scales >> 8)}, 0};
    for (int i = 0; i < 2; ++i) {
      quads.bytes[i] = (raw.q[i] >> (sub % 4 / 2 * 4) & kLow4) | (raw.h[i] >> (sub % 4 * 2) & 0x03030303u) << 4;
    }
    return quads;
  } else if constexpr (kType == DType::kQ4_K || kType == DType::kQ5_K) {
    const std::uint32_t a = raw.scales & 0xff, b = raw.scales >> 8 & 0xff, c = raw.scales >> 16;
    const std::uint32_t scale = sub < 4 ? a & 63 : (c & 15) | a >> 6 << 4;
    const std::uint32_t min = sub < 4 ? b & 63 : c >> 4 | b >> 6 << 4;
    const float factor = d * static_cast<float>(scale);
    Quads quads{{0, 0}, {factor, factor}, f16_value(raw.d >> 16) * static_cast<float>(min)};
    for (int i = 0; i < 2; ++i) {
      quads.bytes[i] = raw.q[i] >> (sub % 2 * 4) & kLow4;
      if constexpr (kType == DType::kQ5_K) quads.bytes[i] |= (raw.h[i] >> sub & 0x01010101u) << 4;
    }
    return quads;
  } else {
    Quads quads{{raw.q[0] & kLow4, raw.q[0] >> 4 & kLow4}, {d, d}, 0};
    if constexpr (kType == DType::kQ5_0 || kType == DType::kQ5_1) {
      quads.bytes[0] |= fifth_bits(raw.h[0] >> (4 * t));
      quads.bytes[1] |= fifth_bits(raw.h[0] >> (16 + 4 * t));
    }
    if constexpr (kType == DType::kQ4_1 || kType == DType::kQ5_1) quads.min = -f16_value(raw.d >> 16);
    return quads;
  }
}

/// Element i of quad h, with the bits of dequantise_row.
template <DType kType>
TANDEM_HD float quad_value(const Quads& quads, int h, int i) {
  const int byte = static_cast<int>(quads.bytes[h] >> (8 * i) & 0xff);
  const auto whole = static_cast<float>(byte - quad_offset(kType));
#if defined(__CUDA_ARCH__)
  return __fsub_rn(__fmul_rn(quads.scale[h], whole), quads.min);
#else
  return quads.scale[h] * whole - quads.min;
#endif
}

/// The element's column within the step.
TANDEM_HD int quad_col(int t, int h, int i) {
  return 16 * h + 4 * t + i;
}

/// dispatch_quantised(dtype, [&]<DType kType>() { return ...; }, otherwise)
template <class Body, class Result>
Result dispatch_quantised(DType dtype, const Body& body, Result otherwise) {
  switch (dtype) {
    case DType::kQ4_0:
      return body.template operator()<DType::kQ4_0>();
    case DType::kQ4_1:
      return body.template operator()<DType::kQ4_1>();
    case DType::kQ5_0:
      return body.template operator()<DType::kQ5_0>();
    case DType::kQ5_1:
      return body.template operator()<DType::kQ5_1>();
    case DType::kQ8_0:
      return body.template operator()<DType::kQ8_0>();
    case DType::kQ4_K:
      return body.template operator()<DType::kQ4_K>();
    case DType::kQ5_K:
      return body.template operator()<DType::kQ5_K>();
    case DType::kQ6_K:
      return body.template operator()<DType::kQ6_K>();
    default:
      return otherwise;
  }
}

}  // namespace tandem
