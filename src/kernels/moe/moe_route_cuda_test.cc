#include <limits>
#include <utility>

#include "device/cuda/runtime.h"
#include "kernels/cuda_testing.h"
#include "kernels/moe/moe_route.h"

namespace tandem {
namespace {

// Every multiple of 1/16 once in [-experts / 32, experts / 32), so that roundings decide about no expert.
std::vector<float> distinct_logits(std::int64_t tokens, std::int64_t experts) {
  std::vector<float> logits;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::vector<float> random = random_values(experts, static_cast<std::uint32_t>(t));
    std::vector<float> row;
    for (std::int64_t e = 0; e < experts; ++e) row.push_back(static_cast<float>(e - experts / 2) / 16);
    for (std::int64_t e = experts - 1; e > 0; --e) {
      const auto other =
          static_cast<std::int64_t>((random[static_cast<std::size_t>(e)] + 1) / 2 * static_cast<float>(e + 1));
      std::swap(row[static_cast<std::size_t>(e)], row[static_cast<std::size_t>(std::min(other, e))]);
    }
    logits.insert(logits.end(), row.begin(), row.end());
  }
  return logits;
}

TEST(MoeRouteCuda, MatchesTheCpuTwin) {
  const CudaRig rig;
  for (const auto& [experts, k] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {7, 7}, {13, 2}, {32, 4}, {60, 8}, {128, 8}, {257, 40}}) {
    for (const bool normalise : {false, true}) {
      const std::int64_t n = 9;
      const std::vector<float> logits = distinct_logits(n, experts);
      std::vector<std::int32_t> ids(static_cast<std::size_t>(n * k));
      std::vector<float> weights(ids.size());
      moe_route(Stream::cpu(1), tensor_of(ids, {n, k}), tensor_of(weights, {n, k}), tensor_of(logits, {n, experts}),
                normalise);
      const OwnedTensor in = rig.upload(logits, DType::kF32, {n, experts});
      const OwnedTensor out_ids = rig.unwritten(DType::kI32, {n, k}), out = rig.unwritten(DType::kF32, {n, k});
      moe_route(rig.stream(), out_ids.tensor, out.tensor, in.tensor, normalise);
      EXPECT_EQ(rig.download_as<std::int32_t>(out_ids.tensor), ids) << experts << " experts";
      // exp of exact differences, sums of up to 257 positive terms on either side, two divisions.
      expect_near(rig.download(out.tensor), {weights.begin(), weights.end()}, 0,
                  2 * (8 + static_cast<double>(experts)) * 0x1p-24);
    }
  }
}

TEST(MoeRouteCuda, TiesGoToTheLowestExpertAndNanKeepsIdsValid) {
  const CudaRig rig;
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const OwnedTensor logits =
      rig.upload({1, 2, 2, 2, nan, 0, 5, 1, nan, nan, -nan, nan, infinity, 1, -infinity, 2}, DType::kF32, {4, 4});
  const OwnedTensor ids = rig.unwritten(DType::kI32, {4, 2}), weights = rig.unwritten(DType::kF32, {4, 2});
  moe_route(rig.stream(), ids.tensor, weights.tensor, logits.tensor, true);
  const std::vector<std::int32_t> chosen = rig.download_as<std::int32_t>(ids.tensor);
  const std::vector<float> by = rig.download(weights.tensor);
  EXPECT_EQ(chosen[0], 1);
  EXPECT_EQ(chosen[1], 2);
  EXPECT_EQ(by[0], 0.5f);
  for (std::size_t t = 1; t < 4; ++t) {
    for (std::size_t i = 2 * t; i < 2 * t + 2; ++i) {
      EXPECT_TRUE(0 <= chosen[i] && chosen[i] < 4) << chosen[i];
      EXPECT_TRUE(std::isnan(by[i])) << i;
    }
    EXPECT_NE(chosen[2 * t], chosen[2 * t + 1]);
  }
}

TEST(MoeRouteCuda, NoTokensAreLegal) {
  const CudaRig rig;
  const OwnedTensor ids(rig.device(), DType::kI32, {0, 2}), floats(rig.device(), DType::kF32, {0, 2});
  moe_route(rig.stream(), ids.tensor, floats.tensor, floats.tensor, false);
}

TEST(MoeRouteCuda, AGraphRepeatsIt) {
  const CudaRig rig;
  const OwnedTensor logits = rig.upload(distinct_logits(3, 60), DType::kF32, {3, 60});
  const OwnedTensor eager = rig.unwritten(DType::kF32, {3, 6}), replayed = rig.unwritten(DType::kF32, {3, 6});
  const OwnedTensor ids = rig.unwritten(DType::kI32, {3, 6}), replayed_ids = rig.unwritten(DType::kI32, {3, 6});
  const cuda::Graph graph(0, rig.stream().cuda_handle(),
                          [&] { moe_route(rig.stream(), replayed_ids.tensor, replayed.tensor, logits.tensor, true); });
  graph.launch(rig.stream().cuda_handle());
  moe_route(rig.stream(), ids.tensor, eager.tensor, logits.tensor, true);
  EXPECT_TRUE(same_bits(rig.download(replayed.tensor), rig.download(eager.tensor)));
  EXPECT_EQ(rig.download_as<std::int32_t>(replayed_ids.tensor), rig.download_as<std::int32_t>(ids.tensor));
}

}  // namespace
}  // namespace tandem
