#include "kernels/rope/rope.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/activations.h"
#include "kernels/rope/rope_cuda.h"

namespace tandem {
namespace {

struct SinCos {
  float sin;
  float cos;
};

// The library's double functions cost a tenth of a small model's prefill. Reduced to a quarter turn in double, Taylor
// series of degree 13 and 12 are exact to 1e-11, far below f32's rounding. Angles are below 2^31.
SinCos sin_cos(float angle) {
  constexpr double kTwoOverPi = 0.63661977236758134308;
  constexpr double kRound = 0x1.8p52;             // adding it rounds to an integer
  constexpr double kHalfPiHigh = 0x1.921fb544p0;  // 33 bits: its product with a quarter count below 2^20 is exact
  constexpr double kHalfPiLow = 0x1.0b4611a626331p-34;
  const double quarter = (angle * kTwoOverPi + kRound) - kRound;
  const double r = (angle - quarter * kHalfPiHigh) - quarter * kHalfPiLow;
  const double r2 = r * r;
  const double s =
      r + r * r2 *
              (-1.0 / 6 + r2 * (1.0 / 120 + r2 * (-1.0 / 5040 + r2 * (1.0 / 362880 + r2 * (-1.0 / 39916800 +
                                                                                           r2 * (1.0 / 6227020800))))));
  const double c =
      1.0 +
      r2 * (-0.5 + r2 * (1.0 / 24 + r2 * (-1.0 / 720 + r2 * (1.0 / 40320 + r2 * (-1.0 / 3628800 + r2 / 479001600)))));
  switch (static_cast<std::int64_t>(quarter) & 3) {
    case 0:
      return {static_cast<float>(s), static_cast<float>(c)};
    case 1:
      return {static_cast<float>(c), static_cast<float>(-s)};
    case 2:
      return {static_cast<float>(-s), static_cast<float>(-c)};
    default:
      return {static_cast<float>(-c), static_cast<float>(s)};
  }
}

// Pair i is (x[i * stride], x[i * stride + distance]).
void rotate_head(float* x, const float* sines, const float* cosines, std::int64_t pairs, std::int64_t stride,
                 std::int64_t distance) {
  for (std::int64_t i = 0; i < pairs; ++i) {
    const float a = x[i * stride];
    const float b = x[i * stride + distance];
    x[i * stride] = a * cosines[i] - b * sines[i];
    x[i * stride + distance] = b * cosines[i] + a * sines[i];
  }
}

}  // namespace

void rope(const Stream& stream, Tensor x, ConstTensor positions, ConstTensor inv_freq, float attention_scaling,
          RopeStyle style) {
  check_activations("rope: x", stream, x);
  check_dtype("rope: positions", positions, DType::kI32);
  check_dtype("rope: inv_freq", inv_freq, DType::kF32);
  TANDEM_CHECK(x.num_dims() == 3, "rope: x has shape {}", to_string(x.shape()));
  check_shape("rope: positions", positions, {x.size(0)});
  const std::int64_t heads = x.size(1), head_dim = x.size(2), pairs = inv_freq.num_elements();
  TANDEM_CHECK(inv_freq.num_dims() == 1 && 2 * pairs <= head_dim, "rope: {} pairs in heads of {}", pairs, head_dim);
  if (x.num_elements() == 0 || pairs == 0) return;
  if (!stream.device().is_cpu()) {
    if constexpr (kBuiltWithCuda) {
      return check_launch(
          "rope", stream,
          rope_cuda(stream.cuda_handle(), x.dtype(), x.raw(), positions.data<std::int32_t>(), inv_freq.data<float>(),
                    x.size(0), heads, head_dim, pairs, attention_scaling, style == RopeStyle::kInterleaved));
    }
  }

  float* values = x.data<float>();
  const std::int32_t* position = positions.data<std::int32_t>();
  const float* frequency = inv_freq.data<float>();
  const bool neox = style == RopeStyle::kNeox;
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 12) / (head_dim * heads));
  stream.parallel_for(x.size(0), grain, [=](std::int64_t begin, std::int64_t end) {
    thread_local std::vector<float> table;
    table.resize(static_cast<std::size_t>(2 * pairs));
    float* sines = table.data();
    float* cosines = sines + pairs;
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t i = 0; i < pairs; ++i) {
        const SinCos turn = sin_cos(static_cast<float>(position[t]) * frequency[i]);
        sines[i] = turn.sin * attention_scaling;
        cosines[i] = turn.cos * attention_scaling;
      }
      for (std::int64_t h = 0; h < heads; ++h) {
        rotate_head(values + (t * heads + h) * head_dim, sines, cosines, pairs, neox ? 1 : 2, neox ? pairs : 1);
      }
    }
  });
}

}  // namespace tandem
