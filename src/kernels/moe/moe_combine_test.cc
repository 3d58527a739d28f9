#include "kernels/moe/moe_combine.h"

#include "kernels/testing.h"

namespace tandem {
namespace {

TEST(MoeCombine, SumsTheExpertsOfEachTokenInOrder) {
  const std::int64_t n = 21, k = 3, hidden = 37;
  const std::vector<float> y = random_values(n * k * hidden, 1), weights = random_values(n * k, 2);
  std::vector<double> expected(static_cast<std::size_t>(n * hidden));
  for (std::int64_t t = 0; t < n; ++t) {
    for (std::int64_t j = 0; j < k; ++j) {
      for (std::int64_t i = 0; i < hidden; ++i) {
        expected[static_cast<std::size_t>(t * hidden + i)] +=
            static_cast<double>(weights[static_cast<std::size_t>(t * k + j)]) *
            y[static_cast<std::size_t>((t * k + j) * hidden + i)];
      }
    }
  }
  std::vector<float> one(expected.size(), 5.0f), three(expected.size());
  moe_combine(Stream::cpu(1), tensor_of(one, {n, hidden}), tensor_of(y, {n * k, hidden}), tensor_of(weights, {n, k}));
  moe_combine(Stream::cpu(3), tensor_of(three, {n, hidden}), tensor_of(y, {n * k, hidden}), tensor_of(weights, {n, k}));
  expect_near(one, expected, 2 * k * k * 0x1p-24, 0);  // k products and k sums of values below k
  EXPECT_TRUE(same_bits(one, three));
}

TEST(MoeCombine, NoTokensAreLegal) {
  std::vector<float> none;
  moe_combine(Stream::cpu(1), tensor_of(none, {0, 8}), tensor_of(none, {0, 8}), tensor_of(none, {0, 2}));
}

}  // namespace
}  // namespace tandem
