#pragma once
// The rotation of rope in device code.

#include <cstdint>

namespace tandem {

struct SinCos {
  float sin;
  float cos;
};

/// The quarter turns are taken off in double, which keeps angles up to 2^31 exact; the rest, below an eighth of a turn,
/// needs no more than f32: both are within 2^-23.
__device__ inline SinCos sin_cos(float angle) {
  constexpr double kTwoOverPi = 0.63661977236758134308;
  constexpr double kHalfPiHigh = 0x1.921fb544p0;  // 33 bits: its product with a quarter count below 2^20 is exact
  constexpr double kHalfPiLow = 0x1.0b4611a626331p-34;
  const double quarter = rint(static_cast<double>(angle) * kTwoOverPi);
  const float r = static_cast<float>((static_cast<double>(angle) - quarter * kHalfPiHigh) - quarter * kHalfPiLow);
  const float r2 = r * r;
  const float s = r + r * r2 * (-1.0f / 6 + r2 * (1.0f / 120 + r2 * (-1.0f / 5040 + r2 * (1.0f / 362880))));
  const float c = 1.0f + r2 * (-0.5f + r2 * (1.0f / 24 + r2 * (-1.0f / 720 + r2 * (1.0f / 40320 - r2 / 3628800))));
  switch (static_cast<std::int64_t>(quarter) & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

/// Where the two channels of pair `i` lie in a head with `pairs` pairs.
struct PairPlace {
  int a;
  int b;
};
__device__ inline PairPlace pair_place(int i, int pairs, bool interleaved) {
  return interleaved ? PairPlace{2 * i, 2 * i + 1} : PairPlace{i, i + pairs};
}

/// Turns the pair (a, b) by an angle whose sine and cosine are scaled already.
__device__ inline void rotate_pair(float& a, float& b, SinCos turn) {
  const float turned = a * turn.cos - b * turn.sin;
  b = b * turn.cos + a * turn.sin;
  a = turned;
}

}  // namespace tandem
