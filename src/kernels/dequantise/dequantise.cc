#include "kernels/dequantise/dequantise.h"

#include <cstring>

#include "base/half.h"
#include "kernels/activations.h"
#include "kernels/dequantise/dequantise_cuda.h"
#include "kernels/dequantise/quads.h"

namespace tandem {
namespace {

// All numbers in a block are little endian, scales are f16. In the blocks of 32, byte j of the 4-bit part holds element
// j in its low half and element j + 16 in its high half. The K formats hold 256 elements in sub-blocks of 32 or 16,
// whose scales are themselves quantised.

template <class T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

float load_f16(const std::byte* p) {
  return to_float(load<F16>(p));
}

int u8(std::byte b) {
  return std::to_integer<int>(b);
}

// f16 d; 16 bytes of 4 bits: d * (q - 8)
void decode_q4_0(float* out, const std::byte* p) {
  const float d = load_f16(p);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((u8(p[2 + j]) & 15) - 8);
    out[j + 16] = d * static_cast<float>((u8(p[2 + j]) >> 4) - 8);
  }
}

// f16 d, m; 16 bytes of 4 bits: d * q + m
void decode_q4_1(float* out, const std::byte* p) {
  const float d = load_f16(p), m = load_f16(p + 2);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(u8(p[4 + j]) & 15) + m;
    out[j + 16] = d * static_cast<float>(u8(p[4 + j]) >> 4) + m;
  }
}

// The 5-bit element j of 32, whose fifth bit is bit j of `high`.
int five_bits(const std::byte* low, std::uint32_t high, int j) {
  const int four = j < 16 ? u8(low[j]) & 15 : u8(low[j - 16]) >> 4;
  return four | static_cast<int>((high >> j) & 1) << 4;
}

// f16 d; 4 bytes of fifth bits; 16 bytes of 4 bits: d * (q - 16)
void decode_q5_0(float* out, const std::byte* p) {
  const float d = load_f16(p);
  const auto high = load<std::uint32_t>(p + 2);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(five_bits(p + 6, high, j) - 16);
}

// f16 d, m; 4 bytes of fifth bits; 16 bytes of 4 bits: d * q + m
void decode_q5_1(float* out, const std::byte* p) {
  const float d = load_f16(p), m = load_f16(p + 2);
  const auto high = load<std::uint32_t>(p + 4);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(five_bits(p + 8, high, j)) + m;
}

// f16 d; 32 signed bytes: d * q
void decode_q8_0(float* out, const std::byte* p) {
  const float d = load_f16(p);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(load<std::int8_t>(p + 2 + j));
}

struct ScaleMin {
  int scale, min;
};

// The 6-bit scale and minimum of sub-block i of 8, packed in 12 bytes: the first four pairs lie in the low 6 bits of
// bytes 0-3 and 4-7; the others' low 4 bits share bytes 8-11, their high 2 bits are on top of bytes 0-7.
ScaleMin scale_min(const std::byte* p, int i) {
  if (i < 4) return {u8(p[i]) & 63, u8(p[i + 4]) & 63};
  return {(u8(p[i + 4]) & 15) | (u8(p[i - 4]) >> 6) << 4, (u8(p[i + 4]) >> 4) | (u8(p[i]) >> 6) << 4};
}

// f16 d, dmin; 12 bytes of scales; 128 bytes of 4 bits, sub-blocks 2g and 2g + 1 in the low and high halves of the
// g-th 32 bytes: d * scale * q - dmin * min
void decode_q4_k(float* out, const std::byte* p) {
  const float d = load_f16(p), dmin = load_f16(p + 2);
  for (int i = 0; i < 8; ++i) {
    const ScaleMin s = scale_min(p + 4, i);
    const float scale = d * static_cast<float>(s.scale), min = dmin * static_cast<float>(s.min);
    const std::byte* low = p + 16 + i / 2 * 32;
    for (int j = 0; j < 32; ++j) out[32 * i + j] = scale * static_cast<float>((u8(low[j]) >> (i % 2 * 4)) & 15) - min;
  }
}

// As q4_k, with 32 bytes of fifth bits before the 4-bit part: bit i of byte j belongs to element j of sub-block i.
void decode_q5_k(float* out, const std::byte* p) {
  const float d = load_f16(p), dmin = load_f16(p + 2);
  for (int i = 0; i < 8; ++i) {
    const ScaleMin s = scale_min(p + 4, i);
    const float scale = d * static_cast<float>(s.scale), min = dmin * static_cast<float>(s.min);
    const std::byte* high = p + 16;
    const std::byte* low = p + 48 + i / 2 * 32;
    for (int j = 0; j < 32; ++j) {
      const int q = ((u8(low[j]) >> (i % 2 * 4)) & 15) | ((u8(high[j]) >> i) & 1) << 4;
      out[32 * i + j] = scale * static_cast<float>(q) - min;
    }
  }
}

// 128 bytes of low 4 bits, 64 of high 2 bits, 16 signed bytes of scales (one each 16 elements), f16 d:
// d * scale * (q - 32). Each half of 128 elements is four groups of 32; groups 0 and 1 are the low halves of its 64 low
// bytes, 2 and 3 the high halves; bits 2g of its 32 high bytes belong to group g.
void decode_q6_k(float* out, const std::byte* p) {
  const float d = load_f16(p + 208);
  for (int i = 0; i < 8; ++i) {
    const int half = i / 4, group = i % 4;
    const std::byte* low = p + half * 64 + group % 2 * 32;
    const std::byte* high = p + 128 + half * 32;
    for (int j = 0; j < 32; ++j) {
      const float scale = d * static_cast<float>(load<std::int8_t>(p + 192 + 2 * i + j / 16));
      const int q = ((u8(low[j]) >> (group / 2 * 4)) & 15) | ((u8(high[j]) >> (2 * group)) & 3) << 4;
      out[32 * i + j] = scale * static_cast<float>(q - 32);
    }
  }
}

template <class T>
void convert(float* out, const std::byte* p, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = to_float(load<T>(p + i * static_cast<std::int64_t>(sizeof(T))));
}

using DecodeBlock = void (*)(float*, const std::byte*);

DecodeBlock block_decoder(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return decode_q4_0;
    case DType::kQ4_1:
      return decode_q4_1;
    case DType::kQ5_0:
      return decode_q5_0;
    case DType::kQ5_1:
      return decode_q5_1;
    case DType::kQ8_0:
      return decode_q8_0;
    case DType::kQ4_K:
      return decode_q4_k;
    case DType::kQ5_K:
      return decode_q5_k;
    case DType::kQ6_K:
      return decode_q6_k;
    default:
      fail(ErrorKind::kInternal, "dequantise: no weights of {}", to_string(dtype));
  }
}

}  // namespace

void dequantise_row(float* out, const std::byte* blocks, DType dtype, std::int64_t count) {
  switch (dtype) {
    case DType::kF32:
      return convert<float>(out, blocks, count);
    case DType::kF16:
      return convert<F16>(out, blocks, count);
    case DType::kBF16:
      return convert<BF16>(out, blocks, count);
    default:
      break;
  }
  const DecodeBlock decode = block_decoder(dtype);
  const DTypeInfo& info = dtype_info(dtype);
  TANDEM_CHECK(count % info.block_size == 0, "{} elements of {}", count, info.name);
  for (std::int64_t c = 0; c < count; c += info.block_size, blocks += info.block_bytes) decode(out + c, blocks);
}

void check_weights(std::string_view what, const Stream& stream, const ConstMatrix& w) {
  TANDEM_CHECK(w.device == stream.device(), "{} is on {}, the stream on {}", what, to_string(w.device),
               to_string(stream.device()));
  const std::size_t alignment = is_quantised(w.dtype) ? static_cast<std::size_t>(quad_alignment(w.dtype))
                                                      : static_cast<std::size_t>(dtype_info(w.dtype).block_bytes);
  TANDEM_CHECK(
      reinterpret_cast<std::uintptr_t>(w.data) % alignment == 0 && (w.rows <= 1 || w.row_stride % alignment == 0),
      "{}: {} at {}, rows {} bytes apart, must be aligned to {} bytes", what, to_string(w.dtype), w.data, w.row_stride,
      alignment);
}

void dequantise(const Stream& stream, Tensor out, ConstMatrix w) {
  check_shape("dequantise: out", out, {w.rows, w.cols});
  check_activations("dequantise: out", stream, out);
  if (w.rows == 0 || w.cols == 0) return;
  if (!stream.device().is_cpu()) {
    check_weights("dequantise: w", stream, w);
    if constexpr (kBuiltWithCuda) {
      return check_launch(
          "dequantise", stream,
          dequantise_cuda(stream.cuda_handle(), out.dtype(), out.raw(), w.dtype, w.data, w.row_stride, w.rows, w.cols));
    }
  }
  float* data = out.data<float>();
  stream.parallel_for(w.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) dequantise_row(data + r * w.cols, w.row(r), w.dtype, w.cols);
  });
}

}  // namespace tandem
