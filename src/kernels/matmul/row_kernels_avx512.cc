#include "kernels/matmul/row_kernels_simd.h"

#if defined(__x86_64__)

#if defined(__GNUC__) && !defined(__clang__)
// GCC's own intrinsics headers trip it (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "kernels/dequantise/dequantise.h"

#define TANDEM_TARGET gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#define TANDEM_SIMD [[TANDEM_TARGET, gnu::always_inline]] inline
#define TANDEM_SIMD_FUNCTION [[TANDEM_TARGET]]
#define TANDEM_SIMD_LAMBDA __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c"), always_inline))

namespace tandem {
namespace {

using Floats = __m512;
using Ints = __m512i;
constexpr int kLanes = 16;
constexpr int kMaxTokens = 8;

TANDEM_SIMD Floats zero() {
  return _mm512_setzero_ps();
}
TANDEM_SIMD Floats load(const float* p) {
  return _mm512_loadu_ps(p);
}
TANDEM_SIMD Floats load_f32(const std::byte* p) {
  return _mm512_loadu_ps(p);
}
TANDEM_SIMD Floats load_f16(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
TANDEM_SIMD Floats load_bf16(const std::byte* p) {
  const Ints wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
TANDEM_SIMD void store(float* p, Floats a) {
  _mm512_storeu_ps(p, a);
}
TANDEM_SIMD Floats broadcast(const float* p) {
  return _mm512_set1_ps(*p);
}
TANDEM_SIMD Floats add(Floats a, Floats b) {
  return _mm512_add_ps(a, b);
}
TANDEM_SIMD Floats sub(Floats a, Floats b) {
  return _mm512_sub_ps(a, b);
}
TANDEM_SIMD Floats mul(Floats a, Floats b) {
  return _mm512_mul_ps(a, b);
}
TANDEM_SIMD Floats fma(Floats a, Floats b, Floats c) {
  return _mm512_fmadd_ps(a, b, c);
}
TANDEM_SIMD float reduce(Floats a) {
  return _mm512_reduce_add_ps(a);
}
// sums[k] = the sum of rows[k]
TANDEM_SIMD void reduce4(const Floats* rows, float* sums) {
  const Floats ab = add(_mm512_unpacklo_ps(rows[0], rows[1]), _mm512_unpackhi_ps(rows[0], rows[1]));
  const Floats cd = add(_mm512_unpacklo_ps(rows[2], rows[3]), _mm512_unpackhi_ps(rows[2], rows[3]));
  const __m512d low = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  const __m512d high = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  const Floats all = add(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
  _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}
TANDEM_SIMD std::uint32_t load_u32(const std::byte* p) {
  std::uint32_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}
TANDEM_SIMD Ints load_u8(const std::byte* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
TANDEM_SIMD Ints load_i8(const std::byte* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
TANDEM_SIMD Ints low_bits(Ints a, int mask) {
  return _mm512_and_si512(a, _mm512_set1_epi32(mask));
}
TANDEM_SIMD Ints shift_right(Ints a, int bits) {
  return _mm512_srli_epi32(a, static_cast<unsigned>(bits));
}
TANDEM_SIMD Ints shift_left(Ints a, int bits) {
  return _mm512_slli_epi32(a, static_cast<unsigned>(bits));
}
TANDEM_SIMD Ints or_ints(Ints a, Ints b) {
  return _mm512_or_si512(a, b);
}
TANDEM_SIMD Ints add_ints(Ints a, int b) {
  return _mm512_add_epi32(a, _mm512_set1_epi32(b));
}
TANDEM_SIMD Floats to_floats(Ints a) {
  return _mm512_cvtepi32_ps(a);
}
// Sets bit 4 of the lanes whose bit of `bits` is set.
TANDEM_SIMD Ints or_bit4(Ints a, std::uint32_t bits) {
  return _mm512_mask_or_epi32(a, static_cast<__mmask16>(bits), a, _mm512_set1_epi32(16));
}

// The sixteen values of a 4-bit weight. A permutation by the low four bits of each lane then replaces masking,
// conversion and multiplication: 3.5 instead of 4.5 vector instructions a cycle pair for 32 weights.
using Table = __m512;
TANDEM_SIMD Table make_table(const float* pair) {
  const Floats steps = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return fma(steps, broadcast(pair), broadcast(pair + 1));
}
TANDEM_SIMD Floats lookup_low(Table table, Ints bytes) {
  return _mm512_permutexvar_ps(bytes, table);
}
TANDEM_SIMD Floats lookup_high(Table table, Ints bytes) {
  return _mm512_permutexvar_ps(shift_right(bytes, 4), table);
}
TANDEM_SIMD Floats low_to_floats(Ints bytes) {
  return _mm512_permutexvar_ps(bytes, _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

// Lane 2i: the f16 at p; lane 2i + 1: the f16 after it, or kOffset times the first.
template <bool kHasMin, int kOffset>
TANDEM_SIMD void load_scale_pair(const std::byte* p, float* pair) {
  // No more than the scale itself: in q6_k it ends the block, and so may end the file.
  std::uint32_t bits = 0;
  std::memcpy(&bits, p, kHasMin ? 4 : 2);
  __m128 both = _mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(bits)));
  if constexpr (!kHasMin) both = _mm_mul_ps(_mm_moveldup_ps(both), _mm_setr_ps(1, kOffset, 1, kOffset));
  _mm_storel_pi(reinterpret_cast<__m64*>(pair), both);
}

// Pairs of num_blocks blocks of kBytes, at most eight; the rest of eight is zero.
template <int kBytes, bool kHasMin, int kOffset>
TANDEM_SIMD void load_scale_pairs(const std::byte* p, int num_blocks, float* pairs) {
  __m256i words = _mm256_setzero_si256();
  if constexpr (kBytes == 20) {
    // A block is five words: words 0, 5, 10 and 15 of two loads, four blocks apart.
    const Ints index = _mm512_setr_epi32(0, 5, 10, 15, 16, 21, 26, 31, 0, 0, 0, 0, 0, 0, 0, 0);
    Ints first, second;
    if (num_blocks == 8) {
      first = _mm512_loadu_si512(p);
      second = _mm512_loadu_si512(p + 4 * kBytes);
    } else {
      const std::uint64_t valid = (std::uint64_t{1} << (5 * num_blocks)) - 1;
      first = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(valid), p);
      second = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(valid >> 20), p + 4 * kBytes);
    }
    words = _mm512_castsi512_si256(_mm512_permutex2var_epi32(first, index, second));
  } else {
    // Loads that start 4 bytes a block early bring the word wanted into lane i; the other lanes are not touched.
    const unsigned valid = (1u << num_blocks) - 1;
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      words = _mm256_mask_loadu_epi32(words, static_cast<__mmask8>(valid & (1u << i)), p + i * (kBytes - 4));
    }
  }
  if constexpr (!kHasMin) words = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
  Floats floats = _mm512_cvtph_ps(words);
  if constexpr (!kHasMin) {
    const Floats signs = _mm512_castpd_ps(_mm512_set1_pd(std::bit_cast<double>(std::array<float, 2>{1, kOffset})));
    floats = mul(_mm512_moveldup_ps(floats), signs);
  }
  store(pairs, floats);
}

// Byte pairs (scales[i], mins[i]) times (d, -dmin), which are the two f16 at p.
TANDEM_SIMD void scale_k_pairs(const std::byte* p, std::uint64_t scales, std::uint64_t mins, float* pairs) {
  const __m128 d =
      _mm_xor_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(load_u32(p)))), _mm_setr_ps(0, -0.f, 0, 0));
  const __m128i bytes = _mm_unpacklo_epi8(_mm_cvtsi64_si128(static_cast<long long>(scales)),
                                          _mm_cvtsi64_si128(static_cast<long long>(mins)));
  const Floats factors = _mm512_castpd_ps(_mm512_broadcastsd_pd(_mm_castps_pd(d)));
  store(pairs, mul(to_floats(_mm512_cvtepu8_epi32(bytes)), factors));
}

#include "kernels/matmul/row_kernels.inl"

// One token against blocks of 32 in integers (AVX512-VNNI): dot_one_token takes longer than the memory does, and this
// takes a little over half of its instructions. x becomes fixed point with 21 bits and a sign, one power of two a block
// (so it is rounded about as an f32 of the block's largest value is), written as three signed digits of base 256.
// Products of a digit and an unsigned weight of 4 or 8 bits are summed exactly, in each lane those of four bytes.
#define TANDEM_VNNI_FUNCTION [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]]
#define TANDEM_VNNI_LAMBDA \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c"), always_inline))

constexpr int kDigits = 3;
// 4 products a lane, or 8 of 4 bits: 4 * 255 * 2^21 < 2^31.
constexpr int kFractionBits = 21;

// Formats of a scale (and a minimum) for 32 weights: weight = scale * q + offset with q the unsigned bytes of load.
// A group is the blocks that fill a vector with bytes of the file: kVectors vectors of q.
template <int kBytesPerUnit, bool kHasMin>
struct NibbleGroup {
  static constexpr int kBytes = kBytesPerUnit;
  static constexpr int kUnits = 4;    // blocks
  static constexpr int kVectors = 2;  // elements 0 to 15 of each block, then 16 to 31
  TANDEM_SIMD static void prepare(const std::byte* p, int num_units, Scales& s) {
    load_scale_pairs<kBytes, kHasMin, -8>(p, num_units, s.pairs);
  }
  // Of num_units blocks, at most kUnits; the rest of q is anything.
  TANDEM_SIMD static void load(const std::byte* p, int num_units, Ints* q) {
    const Ints bytes = load_bytes(p, num_units);
    const Ints mask = _mm512_set1_epi32(0x0f0f0f0f);
    q[0] = _mm512_and_si512(bytes, mask);
    q[1] = _mm512_and_si512(_mm512_srli_epi32(bytes, 4), mask);
  }
  TANDEM_SIMD static Ints load_bytes(const std::byte* p, int num_units) {
    if constexpr (kBytes == 20) {
      // A block is five words, the first of them scale and minimum: words 1 to 4, 6 to 9, 11 to 14, 16 to 19.
      const Ints index = _mm512_setr_epi32(1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19);
      const bool whole = num_units == kUnits;
      const auto valid = static_cast<__mmask16>(whole ? 0xffff : (1u << (5 * num_units)) - 1);
      const Ints first = whole ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32(valid, p);
      const Ints second = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(whole ? 0xf : 0), p + 64);
      return _mm512_permutex2var_epi32(first, index, second);
    } else {
      const std::byte* q = p + kBytes - kUnit / 2;
      Ints bytes = _mm512_zextsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q)));
#pragma GCC unroll 3
      for (int u = 1; u < kUnits; ++u) {
        if (u >= num_units) break;
        // Into lanes 4u to 4u + 3; nothing is read for the others.
        bytes = _mm512_mask_loadu_epi32(bytes, static_cast<__mmask16>(0xf << (4 * u)), q + u * (kBytes - 16));
      }
      return bytes;
    }
  }
  TANDEM_SIMD static Ints scale_lanes() { return _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6); }
};

struct ByteGroup {  // q8_0, as q + 128
  static constexpr int kBytes = 34;
  static constexpr int kUnits = 2;
  static constexpr int kVectors = 1;
  TANDEM_SIMD static void prepare(const std::byte* p, int num_units, Scales& s) {
    load_scale_pairs<kBytes, false, -128>(p, num_units, s.pairs);
  }
  TANDEM_SIMD static void load(const std::byte* p, int num_units, Ints* q) {
    Ints bytes = _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 2)));
    if (num_units == kUnits) bytes = _mm512_mask_loadu_epi32(bytes, 0xff00, p + kBytes + 2 - 32);
    q[0] = _mm512_xor_si512(bytes, _mm512_set1_epi32(static_cast<int>(0x80808080)));
  }
  TANDEM_SIMD static Ints scale_lanes() { return _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2); }
};

// Lines of digits for a group: of each vector of q the digits, the most significant first. Blocks up to a whole chunk
// are zero. sums: (power of two, sum of the fixed-point x) of each block. A block without a value of 2^-100 or more
// counts as zero; one with a value that is not finite gets NaN.
template <class Group>
TANDEM_SIMD_FUNCTION void arrange_digits(const float* x, std::int64_t cols, ArrangedX& out) {
  const std::int64_t num_units = cols / kUnit, padded = (num_units + kChunkUnits - 1) / kChunkUnits * kChunkUnits;
  out.values.resize(static_cast<std::size_t>(padded / Group::kUnits * Group::kVectors * kDigits));
  out.sums.resize(static_cast<std::size_t>(2 * padded));
  std::fill(out.values.begin() + num_units / Group::kUnits * Group::kVectors * kDigits, out.values.end(),
            ArrangedX::Line{});
  std::fill(out.sums.begin() + 2 * num_units, out.sums.end(), 0.f);
  for (std::int64_t u = 0; u < num_units; ++u) {
    const Floats halves[2] = {load(x + u * kUnit), load(x + u * kUnit + kLanes)};
    // As integers, magnitudes order like the floats, and those that are not finite come last.
    const Ints magnitude_bits = _mm512_set1_epi32(0x7fffffff);
    const auto largest = static_cast<std::uint32_t>(
        _mm512_reduce_max_epu32(_mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(halves[0]), magnitude_bits),
                                                 _mm512_and_si512(_mm512_castps_si512(halves[1]), magnitude_bits))));
    const std::uint32_t exponent = largest >> 23;  // biased: |x| < 2^(exponent - 126)
    float unit_value = 0, units_per_one = 0;
    if (exponent == 255) {
      unit_value = std::bit_cast<float>(std::uint32_t{0x7fc00000});
    } else if (exponent >= 127 - 100) {
      unit_value = std::bit_cast<float>((exponent + 1 - kFractionBits) << 23);
      units_per_one = std::bit_cast<float>((253 + kFractionBits - exponent) << 23);
    }
    auto* const group = out.values[static_cast<std::size_t>(u / Group::kUnits * Group::kVectors * kDigits)].bytes;
    Ints sum = _mm512_setzero_si512();
    for (int h = 0; h < 2; ++h) {
      Ints rest = _mm512_cvtps_epi32(mul(halves[h], _mm512_set1_ps(units_per_one)));
      sum = _mm512_add_epi32(sum, rest);
      const std::int64_t vector = Group::kVectors == 2 ? h : 0;
      const std::int64_t at = Group::kVectors == 2 ? u % Group::kUnits * 16 : u % Group::kUnits * 32 + h * 16;
      for (int d = kDigits - 1; d >= 0; --d) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(group + (vector * kDigits + d) * 64 + at),
                         _mm512_cvtepi32_epi8(rest));
        const Ints digit = _mm512_srai_epi32(_mm512_slli_epi32(rest, 24), 24);
        rest = _mm512_srai_epi32(_mm512_sub_epi32(rest, digit), 8);
      }
    }
    const std::size_t pair = 2 * static_cast<std::size_t>(u);
    out.sums[pair] = unit_value;
    out.sums[pair + 1] = static_cast<float>(_mm512_reduce_add_epi32(sum)) * unit_value;
  }
}

template <class Group>
TANDEM_VNNI_FUNCTION void dot_digits(const RowTask& task) {
  const ConstMatrix& w = *task.w;
  constexpr int kRows = 4;  // that share loads of x
  const std::int64_t num_units = w.cols / kUnit;
  const auto* const x_digits = reinterpret_cast<const Ints*>(task.arranged->values.data());
  const float* const x_sums = task.arranged->sums.data();
  // `units` of each row from block `unit` on; p: where that block starts.
  const auto add_chunk = [&](const std::byte* const* p, std::int64_t unit, int units, Floats* sum) TANDEM_VNNI_LAMBDA {
    Floats scales[kRows];  // pairs: scale times power of two, offset times sum of x
#pragma GCC unroll 4
    for (int k = 0; k < kRows; ++k) {
      Scales pairs;
      Group::prepare(p[k], units, pairs);
      scales[k] = mul(load(pairs.pairs), load(x_sums + 2 * unit));
      sum[k] = _mm512_mask_add_ps(sum[k], 0xaaaa, sum[k], scales[k]);
    }
#pragma GCC unroll 4
    for (int g = 0; g < kChunkUnits / Group::kUnits; ++g) {
      const int group_units = std::min(units - g * Group::kUnits, Group::kUnits);
      if (group_units <= 0) break;
      const Ints* const digits = x_digits + (unit / Group::kUnits + g) * (Group::kVectors * kDigits);
      const Ints lanes = _mm512_add_epi32(Group::scale_lanes(), _mm512_set1_epi32(2 * Group::kUnits * g));
#pragma GCC unroll 4
      for (int k = 0; k < kRows; ++k) {
        Ints q[Group::kVectors];
        Group::load(p[k] + g * Group::kUnits * Group::kBytes, group_units, q);
        Ints total[kDigits];
#pragma GCC unroll 3
        for (int d = 0; d < kDigits; ++d) {
          total[d] = _mm512_setzero_si512();
#pragma GCC unroll 2
          for (int v = 0; v < Group::kVectors; ++v) {
            total[d] = _mm512_dpbusd_epi32(total[d], q[v], digits[v * kDigits + d]);
          }
        }
        const Ints upper = _mm512_add_epi32(_mm512_slli_epi32(total[0], 16), _mm512_slli_epi32(total[1], 8));
        const Floats product = to_floats(_mm512_add_epi32(upper, total[2]));
        sum[k] = fma(product, _mm512_permutexvar_ps(lanes, scales[k]), sum[k]);
      }
    }
  };
  const auto add_rows = [&](const std::byte* const* rows, Floats* sum) TANDEM_VNNI_LAMBDA {
    const std::byte* p[kRows] = {rows[0], rows[1], rows[2], rows[3]};
    std::int64_t unit = 0;
    for (; unit + kChunkUnits <= num_units; unit += kChunkUnits) {
      add_chunk(p, unit, kChunkUnits, sum);
#pragma GCC unroll 4
      for (int k = 0; k < kRows; ++k) {
        for (int b = 0; b < kChunkUnits * Group::kBytes; b += 64) __builtin_prefetch(p[k] + kPrefetchBytes + b);
        p[k] += kChunkUnits * Group::kBytes;
      }
    }
    if (unit < num_units) add_chunk(p, unit, static_cast<int>(num_units - unit), sum);
  };
  for (std::int64_t r = task.row_begin; r < task.row_end; r += kRows) {
    const int valid = static_cast<int>(std::min<std::int64_t>(kRows, task.row_end - r));
    const std::byte* rows[kRows];  // the last is computed again where there are fewer, and not stored
    for (int k = 0; k < kRows; ++k) rows[k] = w.row(r + std::min(k, valid - 1));
    Floats totals[kRows] = {zero(), zero(), zero(), zero()};
    add_rows(rows, totals);
    float y[kRows];
    reduce4(totals, y);
    for (int k = 0; k < valid; ++k) task.y[r + k] = y[k] + (task.bias == nullptr ? 0.f : task.bias[r + k]);
  }
}

using Q4_0Group = NibbleGroup<18, false>;
using Q4_1Group = NibbleGroup<20, true>;

void arrange_vnni(const float* x, std::int64_t cols, DType dtype, ArrangedX& out) {
  if (dtype == DType::kQ4_0 || dtype == DType::kQ4_1) return arrange_digits<Q4_0Group>(x, cols, out);
  if (dtype == DType::kQ8_0) return arrange_digits<ByteGroup>(x, cols, out);
  arrange(x, cols, dtype, out);
}

void dot_vnni(const RowTask& task) {
  const DType dtype = task.w->dtype;
  const bool arranged = task.arranged != nullptr;
  if (arranged && dtype == DType::kQ4_0) return dot_digits<Q4_0Group>(task);
  if (arranged && dtype == DType::kQ4_1) return dot_digits<Q4_1Group>(task);
  if (arranged && dtype == DType::kQ8_0) return dot_digits<ByteGroup>(task);
  dot(task);
}

}  // namespace

const RowKernels kRowKernelsAvx512{"avx512", kMaxTokens, arrange, dot, decode};
const RowKernels kRowKernelsAvx512Vnni{"avx512-vnni", kMaxTokens, arrange_vnni, dot_vnni, decode};

}  // namespace tandem

#endif
