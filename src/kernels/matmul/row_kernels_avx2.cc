#include "kernels/matmul/row_kernels_simd.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/dequantise/dequantise.h"

#define TANDEM_TARGET gnu::target("avx2,fma,f16c")
#define TANDEM_SIMD [[TANDEM_TARGET, gnu::always_inline]] inline
#define TANDEM_SIMD_FUNCTION [[TANDEM_TARGET]]
#define TANDEM_SIMD_LAMBDA __attribute__((target("avx2,fma,f16c"), always_inline))

namespace tandem {
namespace {

using Floats = __m256;
using Ints = __m256i;
constexpr int kLanes = 8;
constexpr int kMaxTokens = 4;  // sixteen registers hold no more sums

TANDEM_SIMD Floats zero() {
  return _mm256_setzero_ps();
}
TANDEM_SIMD Floats load(const float* p) {
  return _mm256_loadu_ps(p);
}
TANDEM_SIMD Floats load_f32(const std::byte* p) {
  return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
}
TANDEM_SIMD Floats load_f16(const std::byte* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
TANDEM_SIMD Floats load_bf16(const std::byte* p) {
  const Ints wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
TANDEM_SIMD void store(float* p, Floats a) {
  _mm256_storeu_ps(p, a);
}
TANDEM_SIMD Floats broadcast(const float* p) {
  return _mm256_broadcast_ss(p);
}
TANDEM_SIMD Floats add(Floats a, Floats b) {
  return _mm256_add_ps(a, b);
}
TANDEM_SIMD Floats sub(Floats a, Floats b) {
  return _mm256_sub_ps(a, b);
}
TANDEM_SIMD Floats mul(Floats a, Floats b) {
  return _mm256_mul_ps(a, b);
}
TANDEM_SIMD Floats fma(Floats a, Floats b, Floats c) {
  return _mm256_fmadd_ps(a, b, c);
}
TANDEM_SIMD float reduce(Floats a) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
// sums[k] = the sum of rows[k]
TANDEM_SIMD void reduce4(const Floats* rows, float* sums) {
  const Floats all = _mm256_hadd_ps(_mm256_hadd_ps(rows[0], rows[1]), _mm256_hadd_ps(rows[2], rows[3]));
  _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}
TANDEM_SIMD std::uint32_t load_u32(const std::byte* p) {
  std::uint32_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}
TANDEM_SIMD Ints load_u8(const std::byte* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
TANDEM_SIMD Ints load_i8(const std::byte* p) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
TANDEM_SIMD Ints low_bits(Ints a, int mask) {
  return _mm256_and_si256(a, _mm256_set1_epi32(mask));
}
TANDEM_SIMD Ints shift_right(Ints a, int bits) {
  return _mm256_srli_epi32(a, bits);
}
TANDEM_SIMD Ints shift_left(Ints a, int bits) {
  return _mm256_slli_epi32(a, bits);
}
TANDEM_SIMD Ints or_ints(Ints a, Ints b) {
  return _mm256_or_si256(a, b);
}
TANDEM_SIMD Ints add_ints(Ints a, int b) {
  return _mm256_add_epi32(a, _mm256_set1_epi32(b));
}
TANDEM_SIMD Floats to_floats(Ints a) {
  return _mm256_cvtepi32_ps(a);
}
// Sets bit 4 of the lanes whose bit of `bits` is set.
TANDEM_SIMD Ints or_bit4(Ints a, std::uint32_t bits) {
  const Ints lanes =
      _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(bits)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  return or_ints(a, shift_left(low_bits(lanes, 1), 4));
}

// Eight lanes cannot look up sixteen values: mask, convert, multiply.
struct Table {
  Floats scale, offset;
};
TANDEM_SIMD Table make_table(const float* pair) {
  return {broadcast(pair), broadcast(pair + 1)};
}
TANDEM_SIMD Floats lookup_low(Table table, Ints bytes) {
  return fma(to_floats(low_bits(bytes, 15)), table.scale, table.offset);
}
TANDEM_SIMD Floats lookup_high(Table table, Ints bytes) {
  return fma(to_floats(shift_right(bytes, 4)), table.scale, table.offset);
}
TANDEM_SIMD Floats low_to_floats(Ints bytes) {
  return to_floats(low_bits(bytes, 15));
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

// Pairs of num_blocks blocks of kBytes, at most eight; the rest of eight is zero. Loads that start 4 bytes a block
// early put the words wanted into successive lanes.
template <int kBytes, bool kHasMin, int kOffset>
TANDEM_SIMD void load_scale_pairs(const std::byte* p, int num_blocks, float* pairs) {
  if (num_blocks < 8) {
    std::fill_n(pairs, 16, 0.f);
    for (int i = 0; i < num_blocks; ++i) load_scale_pair<kHasMin, kOffset>(p + i * kBytes, pairs + 2 * i);
    return;
  }
  for (int half = 0; half < 2; ++half, p += 4 * kBytes, pairs += 8) {
    __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    words = _mm_blend_epi32(words, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + (kBytes - 4))), 1 << 1);
    words = _mm_blend_epi32(words, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 2 * (kBytes - 4))), 1 << 2);
    words = _mm_blend_epi32(words, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 3 * (kBytes - 4))), 1 << 3);
    if constexpr (!kHasMin) words = _mm_and_si128(words, _mm_set1_epi32(0xffff));
    Floats floats = _mm256_cvtph_ps(words);
    if constexpr (!kHasMin) {
      floats = mul(_mm256_moveldup_ps(floats), _mm256_setr_ps(1, kOffset, 1, kOffset, 1, kOffset, 1, kOffset));
    }
    store(pairs, floats);
  }
}

// Byte pairs (scales[i], mins[i]) times (d, -dmin), which are the two f16 at p.
TANDEM_SIMD void scale_k_pairs(const std::byte* p, std::uint64_t scales, std::uint64_t mins, float* pairs) {
  const __m128 d =
      _mm_xor_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(load_u32(p)))), _mm_setr_ps(0, -0.f, 0, 0));
  const __m128i bytes = _mm_unpacklo_epi8(_mm_cvtsi64_si128(static_cast<long long>(scales)),
                                          _mm_cvtsi64_si128(static_cast<long long>(mins)));
  const Floats factors = _mm256_castpd_ps(_mm256_broadcastsd_pd(_mm_castps_pd(d)));
  store(pairs, mul(to_floats(_mm256_cvtepu8_epi32(bytes)), factors));
  store(pairs + 8, mul(to_floats(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))), factors));
}

#include "kernels/matmul/row_kernels.inl"

}  // namespace

const RowKernels kRowKernelsAvx2{"avx2", kMaxTokens, arrange, dot, decode};

}  // namespace tandem

#endif
