#include "kernels/rope/rope.h"

#include "kernels/testing.h"

namespace tandem {
namespace {

struct Case {
  std::int64_t heads, head_dim, rotary_dim;
  RopeStyle style;
  float attention_scaling;
};

std::vector<float> inverse_frequencies(std::int64_t rotary_dim) {
  std::vector<float> inv_freq;
  for (std::int64_t i = 0; i < rotary_dim / 2; ++i) {
    inv_freq.push_back(
        static_cast<float>(std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim))));
  }
  return inv_freq;
}

std::vector<double> oracle(const std::vector<float>& x, const std::vector<std::int32_t>& positions, const Case& c) {
  const std::vector<float> inv_freq = inverse_frequencies(c.rotary_dim);
  std::vector<double> y(x.begin(), x.end());
  for (std::size_t t = 0; t < positions.size(); ++t) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      double* head = y.data() + (static_cast<std::int64_t>(t) * c.heads + h) * c.head_dim;
      for (std::int64_t i = 0; i < c.rotary_dim / 2; ++i) {
        const float angle =
            static_cast<float>(positions[t]) * inv_freq[static_cast<std::size_t>(i)];  // rounded: contract
        const double sine = std::sin(static_cast<double>(angle)) * c.attention_scaling;
        const double cosine = std::cos(static_cast<double>(angle)) * c.attention_scaling;
        double& a = head[c.style == RopeStyle::kNeox ? i : 2 * i];
        double& b = head[c.style == RopeStyle::kNeox ? i + c.rotary_dim / 2 : 2 * i + 1];
        const double turned = a * cosine - b * sine;
        b = b * cosine + a * sine;
        a = turned;
      }
    }
  }
  return y;
}

const std::vector<Case> kCases = {
    {3, 64, 64, RopeStyle::kNeox, 1.0f},
    {2, 48, 24, RopeStyle::kNeox, 1.0f},
    {1, 80, 80, RopeStyle::kInterleaved, 1.2f},
    {5, 24, 8, RopeStyle::kInterleaved, 1.0f},
};

TEST(Rope, MatchesTheDefinitionAtNearAndFarPositions) {
  const std::vector<std::int32_t> positions{0, 1, 2, 3, 511, 8191, 131071, 1048575};
  const std::int64_t n = static_cast<std::int64_t>(positions.size());
  for (const Case& c : kCases) {
    std::vector<float> x = random_values(n * c.heads * c.head_dim, 1);
    const std::vector<double> expected = oracle(x, positions, c);
    const std::vector<float> inv_freq = inverse_frequencies(c.rotary_dim);
    rope(Stream::cpu(2), tensor_of(x, {n, c.heads, c.head_dim}), tensor_of(positions, {n}),
         tensor_of(inv_freq, {c.rotary_dim / 2}), c.attention_scaling, c.style);
    // Values below 1: sine and its product with the scaling, two products and a sum are each rounded.
    expect_near(x, expected, 8 * 0x1p-24 * c.attention_scaling, 0);
  }
}

TEST(Rope, BitsDependNeitherOnBatchNorHeadsNorThreads) {
  const std::int64_t n = 300, heads = 4, head_dim = 32;
  std::vector<std::int32_t> positions;
  for (std::int32_t t = 0; t < n; ++t) positions.push_back(t * 37 % 1000);
  const std::vector<float> x = random_values(n * heads * head_dim, 2), inv_freq = inverse_frequencies(32);
  std::vector<float> one = x, three = x;
  rope(Stream::cpu(1), tensor_of(one, {n, heads, head_dim}), tensor_of(positions, {n}), tensor_of(inv_freq, {16}), 1.0f,
       RopeStyle::kNeox);
  rope(Stream::cpu(3), tensor_of(three, {n, heads, head_dim}), tensor_of(positions, {n}), tensor_of(inv_freq, {16}),
       1.0f, RopeStyle::kNeox);
  EXPECT_TRUE(same_bits(one, three));
  for (std::int64_t row = 0; row < n * heads; row += 7) {  // one head of one token
    std::vector<float> alone(x.begin() + row * head_dim, x.begin() + (row + 1) * head_dim);
    const std::vector<std::int32_t> position{positions[static_cast<std::size_t>(row / heads)]};
    rope(Stream::cpu(1), tensor_of(alone, {1, 1, head_dim}), tensor_of(position, {1}), tensor_of(inv_freq, {16}), 1.0f,
         RopeStyle::kNeox);
    EXPECT_TRUE(same_bits(alone, {one.begin() + row * head_dim, one.begin() + (row + 1) * head_dim}));
  }
}

TEST(Rope, NoTokensAndNoHeadsAreLegal) {
  std::vector<float> none, inv_freq(4, 1.0f);
  std::vector<std::int32_t> no_positions, positions(3);
  const Stream stream = Stream::cpu(1);
  rope(stream, tensor_of(none, {0, 2, 8}), tensor_of(no_positions, {0}), tensor_of(inv_freq, {4}), 1.0f,
       RopeStyle::kNeox);
  rope(stream, tensor_of(none, {3, 0, 8}), tensor_of(positions, {3}), tensor_of(inv_freq, {4}), 1.0f, RopeStyle::kNeox);
  std::vector<float> x(3 * 6);
  EXPECT_THROW(rope(stream, tensor_of(x, {3, 1, 6}), tensor_of(positions, {3}), tensor_of(inv_freq, {4}), 1.0f,
                    RopeStyle::kNeox),
               Error);
}

}  // namespace
}  // namespace tandem
