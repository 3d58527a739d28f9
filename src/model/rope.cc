#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tandem {
namespace {

double llama3_frequency(const RopeParameters& rope, double frequency) {
  const double original = static_cast<double>(rope.original_max_position_embeddings);
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < original / rope.high_freq_factor) return frequency;
  if (wavelength > original / rope.low_freq_factor) return frequency / rope.factor;
  const double blend = (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - blend) * frequency / rope.factor + blend * frequency;
}

double yarn_scale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// The (fractional) pair whose wavelength makes `rotations` turns over the original context.
double yarn_pair(const RopeParameters& rope, double rotary_dim, double rotations) {
  const double original = static_cast<double>(rope.original_max_position_embeddings);
  return rotary_dim * std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(rope.rope_theta));
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeParameters& rope, std::int64_t head_dim) {
  const auto rotary_dim = static_cast<std::int64_t>(static_cast<double>(head_dim) * rope.partial_rotary_factor) / 2 * 2;
  RopeFrequencies result;
  double low = 0;
  double high = 0;
  if (rope.type == RopeType::kYarn) {
    low = yarn_pair(rope, static_cast<double>(rotary_dim), rope.beta_fast);
    high = yarn_pair(rope, static_cast<double>(rotary_dim), rope.beta_slow);
    if (rope.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(rotary_dim - 1));
    if (low == high) high += 0.001;  // no division by zero in the ramp
    if (rope.attention_factor > 0) {
      result.attention_scaling = static_cast<float>(rope.attention_factor);
    } else if (rope.mscale > 0 && rope.mscale_all_dim > 0) {
      result.attention_scaling =
          static_cast<float>(yarn_scale(rope.factor, rope.mscale) / yarn_scale(rope.factor, rope.mscale_all_dim));
    } else {
      result.attention_scaling = static_cast<float>(yarn_scale(rope.factor, 1));
    }
  }
  for (std::int64_t i = 0; i < rotary_dim / 2; ++i) {
    double frequency = std::pow(rope.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
    switch (rope.type) {
      case RopeType::kDefault:
        break;
      case RopeType::kLinear:
        frequency /= rope.factor;
        break;
      case RopeType::kLlama3:
        frequency = llama3_frequency(rope, frequency);
        break;
      case RopeType::kYarn: {
        const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
        frequency = frequency / rope.factor * ramp + frequency * (1 - ramp);
        break;
      }
    }
    result.inv_freq.push_back(static_cast<float>(frequency));
  }
  return result;
}

}  // namespace tandem
