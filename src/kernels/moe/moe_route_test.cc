#include "kernels/moe/moe_route.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/testing.h"

namespace tandem {
namespace {

TEST(MoeRoute, TakesTheLargestOfTheSoftmaxInOrder) {
  const std::int64_t n = 50, experts = 60, k = 8;
  const std::vector<float> logits = random_values(n * experts, 1, 4.0f);
  for (bool normalise : {false, true}) {
    std::vector<std::int32_t> ids(n * k);
    std::vector<float> weights(n * k);
    moe_route(Stream::cpu(2), tensor_of(ids, {n, k}), tensor_of(weights, {n, k}), tensor_of(logits, {n, experts}),
              normalise);
    std::vector<double> expected;
    for (std::int64_t t = 0; t < n; ++t) {
      const float* row = logits.data() + t * experts;
      std::vector<std::int32_t> order(experts);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return row[a] > row[b]; });
      double sum = 0;
      for (std::int64_t e = 0; e < (normalise ? k : experts); ++e) sum += std::exp(static_cast<double>(row[order[e]]));
      for (std::int64_t j = 0; j < k; ++j) {
        EXPECT_EQ(ids[static_cast<std::size_t>(t * k + j)], order[static_cast<std::size_t>(j)]);
        expected.push_back(std::exp(static_cast<double>(row[order[static_cast<std::size_t>(j)]])) / sum);
      }
    }
    // exp of a rounded difference below 8, a sum of 60 positive terms, two divisions.
    expect_near(weights, expected, 0, (8 + 60 + 4) * 0x1p-24);
  }
}

TEST(MoeRoute, TiesGoToTheLowestExpertAndNanKeepsIdsValid) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> logits{1, 2, 2, 2, nan, 0, 5, 1, nan, nan, nan, nan};
  std::vector<std::int32_t> ids(6);
  std::vector<float> weights(6);
  moe_route(Stream::cpu(1), tensor_of(ids, {3, 2}), tensor_of(weights, {3, 2}), tensor_of(logits, {3, 4}), true);
  EXPECT_EQ(ids[0], 1);
  EXPECT_EQ(ids[1], 2);
  EXPECT_EQ(weights[0], 0.5f);
  for (std::size_t i = 2; i < 6; ++i) {
    EXPECT_TRUE(0 <= ids[i] && ids[i] < 4);
    EXPECT_TRUE(std::isnan(weights[i]));
  }
  EXPECT_NE(ids[2], ids[3]);
}

TEST(MoeRoute, RefusesMoreExpertsThanThereAre) {
  std::vector<std::int32_t> ids(5);
  std::vector<float> weights(5), logits(4);
  EXPECT_THROW(
      moe_route(Stream::cpu(1), tensor_of(ids, {1, 5}), tensor_of(weights, {1, 5}), tensor_of(logits, {1, 4}), false),
      Error);
}

}  // namespace
}  // namespace tandem
