// Blocks of kBlock elements: sum in a small array that stays in the first-level cache, round, then copy to the outputs.
// Inner loops have no branch and no alias, so that the compiler turns them into vector code; only f16 needs help, as
// its conversions are single instructions (F16C) on every CPU of the last decade but no part of the x86-64 baseline.
#include "comm/cpu/reduce.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/half.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tandem {
namespace {

constexpr std::int64_t kBlock = 512;

template <class T>
struct Plain {
  using Sum = float;
  static void load(Sum* __restrict sum, const T* __restrict x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) sum[i] = to_float(x[i]);
  }
  static void add(Sum* __restrict sum, const T* __restrict x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) sum[i] += to_float(x[i]);
  }
  static void store(T* __restrict out, const Sum* __restrict sum, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = from_float<T>(sum[i]);
  }
};

template <>
struct Plain<std::uint32_t> {
  using Sum = std::uint32_t;
  static void load(Sum* __restrict sum, const Sum* __restrict x, std::int64_t n) { std::copy_n(x, n, sum); }
  static void add(Sum* __restrict sum, const Sum* __restrict x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) sum[i] += x[i];
  }
  static void store(Sum* __restrict out, const Sum* __restrict sum, std::int64_t n) { std::copy_n(sum, n, out); }
};

#if defined(__x86_64__)
// The same values as Plain<F16>: both round to nearest even and keep NaN a NaN.
struct F16c {
  using Sum = float;
  [[gnu::target("avx,f16c")]] static __m256 widen(const F16* x) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  }
  [[gnu::target("avx,f16c")]] static void load(Sum* __restrict sum, const F16* __restrict x, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(sum + i, widen(x + i));
    Plain<F16>::load(sum + i, x + i, n - i);
  }
  [[gnu::target("avx,f16c")]] static void add(Sum* __restrict sum, const F16* __restrict x, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(sum + i, _mm256_add_ps(_mm256_loadu_ps(sum + i), widen(x + i)));
    Plain<F16>::add(sum + i, x + i, n - i);
  }
  [[gnu::target("avx,f16c")]] static void store(F16* __restrict out, const Sum* __restrict sum, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                       _mm256_cvtps_ph(_mm256_loadu_ps(sum + i), _MM_FROUND_TO_NEAREST_INT));
    }
    Plain<F16>::store(out + i, sum + i, n - i);
  }
};
#endif

template <class T, class Ops>
void reduce(std::span<const void* const> inputs, std::span<void* const> outputs, std::int64_t begin, std::int64_t end,
            std::int64_t first) {
  alignas(64) typename Ops::Sum sum[kBlock];
  alignas(64) T rounded[kBlock];
  for (std::int64_t i = begin; i < end; i += kBlock) {
    const std::int64_t n = std::min(kBlock, end - i);
    Ops::load(sum, static_cast<const T*>(inputs[0]) + i, n);
    for (const void* input : inputs.subspan(1)) Ops::add(sum, static_cast<const T*>(input) + i, n);
    Ops::store(rounded, sum, n);
    for (void* out : outputs)
      std::memcpy(static_cast<T*>(out) + (i - first), rounded, static_cast<std::size_t>(n) * sizeof(T));
  }
}

}  // namespace

void reduce_in_order(DType dtype, std::span<const void* const> inputs, std::span<void* const> outputs,
                     std::int64_t begin, std::int64_t end, std::int64_t first) {
  if (begin == end) return;
  if (inputs.size() == 1) {
    const std::byte* source = static_cast<const std::byte*>(inputs[0]) + dtype_bytes(dtype, begin);
    for (void* out : outputs) {
      std::byte* target = static_cast<std::byte*>(out) + dtype_bytes(dtype, begin - first);
      if (target != source) std::memcpy(target, source, dtype_bytes(dtype, end - begin));
    }
    return;
  }
  switch (dtype) {
    case DType::kF32:
      return reduce<float, Plain<float>>(inputs, outputs, begin, end, first);
    case DType::kBF16:
      return reduce<BF16, Plain<BF16>>(inputs, outputs, begin, end, first);
    case DType::kF16:
#if defined(__x86_64__)
      if (__builtin_cpu_supports("avx") && __builtin_cpu_supports("f16c")) {
        return reduce<F16, F16c>(inputs, outputs, begin, end, first);
      }
#endif
      return reduce<F16, Plain<F16>>(inputs, outputs, begin, end, first);
    case DType::kI32:  // unsigned: a sum that wraps is defined
      return reduce<std::uint32_t, Plain<std::uint32_t>>(inputs, outputs, begin, end, first);
    default:
      fail(ErrorKind::kInternal, "no sums of {}", to_string(dtype));
  }
}

}  // namespace tandem
