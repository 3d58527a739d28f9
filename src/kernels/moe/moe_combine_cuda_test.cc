#include "device/cuda/runtime.h"
#include "kernels/cuda_testing.h"
#include "kernels/moe/moe_combine.h"

namespace tandem {
namespace {

TEST(MoeCombineCuda, MatchesTheCpuTwin) {
  const CudaRig rig;
  for (const DType dtype : kActivationTypes) {
    for (const std::int64_t hidden : {1, 7, 13, 576, 2056}) {
      for (const std::int64_t k : {1, 3, 8}) {
        const std::int64_t n = 5;
        const std::vector<float> y = rounded_to(dtype, random_values(n * k * hidden, 1));
        const std::vector<float> weights = random_values(n * k, 2);
        std::vector<float> expected(static_cast<std::size_t>(n * hidden));
        moe_combine(Stream::cpu(1), tensor_of(expected, {n, hidden}), tensor_of(y, {n * k, hidden}),
                    tensor_of(weights, {n, k}));
        const OwnedTensor in = rig.upload(y, dtype, {n * k, hidden}), by = rig.upload(weights, DType::kF32, {n, k});
        const OwnedTensor out = rig.unwritten(dtype, {n, hidden});
        moe_combine(rig.stream(), out.tensor, in.tensor, by.tensor);
        // k fused products and sums of values below k, on either side, and one rounding to the dtype.
        const double sums = 4 * static_cast<double>(k * k) * 0x1p-24;
        expect_near(rig.download(out.tensor), {expected.begin(), expected.end()}, sums, 0.5 * epsilon_of(dtype));
      }
    }
  }
}

TEST(MoeCombineCuda, NoTokensAreLegal) {
  const CudaRig rig;
  const OwnedTensor none(rig.device(), DType::kF16, {0, 8}), no_weights(rig.device(), DType::kF32, {0, 2});
  moe_combine(rig.stream(), none.tensor, none.tensor, no_weights.tensor);
}

TEST(MoeCombineCuda, AGraphRepeatsIt) {
  const CudaRig rig;
  const OwnedTensor y = rig.upload(random_values(6 * 24, 1), DType::kBF16, {6, 24});
  const OwnedTensor weights = rig.upload(random_values(6, 2), DType::kF32, {2, 3});
  const OwnedTensor eager = rig.unwritten(DType::kBF16, {2, 24}), replayed = rig.unwritten(DType::kBF16, {2, 24});
  const cuda::Graph graph(0, rig.stream().cuda_handle(),
                          [&] { moe_combine(rig.stream(), replayed.tensor, y.tensor, weights.tensor); });
  graph.launch(rig.stream().cuda_handle());
  moe_combine(rig.stream(), eager.tensor, y.tensor, weights.tensor);
  EXPECT_TRUE(same_bits(rig.download(replayed.tensor), rig.download(eager.tensor)));
}

}  // namespace
}  // namespace tandem
