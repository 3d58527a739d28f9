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

}  // namespace

const RowKernels kRowKernelsAvx512{"avx512", kMaxTokens, dot, decode};

}  // namespace tandem

#endif
