#pragma once
// Rotary positions: the angle per token of each pair of channels, for every kind of context extension.

#include <cstdint>
#include <vector>

#include "model/config.h"

namespace tandem {

struct RopeFrequencies {
  std::vector<float> inv_freq;  ///< [rotary_dim / 2], radians a token
  float attention_scaling = 1;  ///< multiplies cos and sin (yarn)
};

/// inv_freq[i] = rope_theta^(-2i / rotary_dim), then scaled:
///   linear: all by 1/factor.
///   llama3: long wavelengths by 1/factor, short ones not, a linear blend between (Llama 3.1's reference code).
///   yarn: as Peng et al., "YaRN" (2023), section 3.2: a blend between interpolation and none over a ramp of
///   dimensions;
///         attention_scaling = 0.1 ln(factor) + 1 unless given.
RopeFrequencies rope_frequencies(const RopeParameters& rope, std::int64_t head_dim);

}  // namespace tandem
