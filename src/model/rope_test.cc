#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tandem {
namespace {

TEST(Rope, DefaultFrequenciesFallFromOneToTheInverseOfTheta) {
  const RopeFrequencies rope = rope_frequencies({.rope_theta = 10000}, 64);
  ASSERT_EQ(rope.inv_freq.size(), 32u);
  EXPECT_FLOAT_EQ(rope.inv_freq[0], 1.0f);
  EXPECT_FLOAT_EQ(rope.inv_freq[16], 0.01f);
  EXPECT_EQ(rope.attention_scaling, 1.0f);
}

TEST(Rope, LinearDividesAll) {
  const RopeFrequencies plain = rope_frequencies({}, 32);
  const RopeFrequencies scaled = rope_frequencies({.type = RopeType::kLinear, .factor = 4}, 32);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_FLOAT_EQ(scaled.inv_freq[i] * 4, plain.inv_freq[i]);
}

TEST(Rope, Llama3KeepsShortWavelengthsAndDividesLongOnes) {
  const RopeParameters parameters{
      .type = RopeType::kLlama3, .rope_theta = 500000, .factor = 8, .original_max_position_embeddings = 128};
  const RopeFrequencies plain = rope_frequencies({.rope_theta = 500000}, 48);
  const RopeFrequencies scaled = rope_frequencies(parameters, 48);
  EXPECT_FLOAT_EQ(scaled.inv_freq.front(), plain.inv_freq.front());
  EXPECT_FLOAT_EQ(scaled.inv_freq.back() * 8, plain.inv_freq.back());
  for (std::size_t i = 0; i < 24; ++i) {
    EXPECT_LE(scaled.inv_freq[i], plain.inv_freq[i]);
    EXPECT_GE(scaled.inv_freq[i] * 8, plain.inv_freq[i] * 0.999f);
  }
}

TEST(Rope, YarnBlendsAndScalesAttention) {
  const RopeParameters parameters{.type = RopeType::kYarn, .factor = 4, .original_max_position_embeddings = 64};
  const RopeFrequencies plain = rope_frequencies({}, 64);
  const RopeFrequencies scaled = rope_frequencies(parameters, 64);
  EXPECT_FLOAT_EQ(scaled.attention_scaling, 0.1f * std::log(4.0f) + 1.0f);
  EXPECT_FLOAT_EQ(scaled.inv_freq[0], plain.inv_freq[0]);
  EXPECT_FLOAT_EQ(scaled.inv_freq[31] * 4, plain.inv_freq[31]);
}

TEST(Rope, PartialRotaryTurnsFewerChannels) {
  EXPECT_EQ(rope_frequencies({.partial_rotary_factor = 0.5}, 64).inv_freq.size(), 16u);
}

}  // namespace
}  // namespace tandem
