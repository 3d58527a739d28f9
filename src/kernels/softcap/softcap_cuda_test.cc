#include <limits>

#include "device/cuda/runtime.h"
#include "kernels/cuda_testing.h"
#include "kernels/softcap/softcap.h"

namespace tandem {
namespace {

TEST(SoftcapCuda, MatchesTheCpuTwin) {
  const CudaRig rig;
  for (const std::int64_t count : {0, 1, 7, 13, 576, 20001}) {
    for (const float size : {1e-6f, 0.5f, 40.0f, 1000.0f}) {
      const std::vector<float> x = random_values(count, 1, size);
      std::vector<float> expected = x;
      softcap(Stream::cpu(1), tensor_of(expected, {count}), 30.0f);
      const OwnedTensor on_gpu = rig.upload(x, DType::kF32, {count});
      softcap(rig.stream(), on_gpu.tensor, 30.0f);
      // Both: a division, tanh (4 units in the last place at most) and a product, each rounded.
      expect_near(rig.download(on_gpu.tensor), {expected.begin(), expected.end()}, 0, 12 * 0x1p-23);
    }
  }
}

TEST(SoftcapCuda, InfinitiesBecomeTheCapAndNanStays) {
  const CudaRig rig;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const OwnedTensor x =
      rig.upload({kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(), 0}, DType::kF32, {4});
  softcap(rig.stream(), x.tensor, 5.0f);
  const std::vector<float> y = rig.download(x.tensor);
  EXPECT_EQ(y[0], 5.0f);
  EXPECT_EQ(y[1], -5.0f);
  EXPECT_TRUE(std::isnan(y[2]));
  EXPECT_EQ(y[3], 0.0f);
}

TEST(SoftcapCuda, AGraphRepeatsIt) {
  const CudaRig rig;
  const std::vector<float> x = random_values(77, 2, 9.0f);
  const OwnedTensor eager = rig.upload(x, DType::kF32, {77}), replayed = rig.upload(x, DType::kF32, {77});
  const cuda::Graph graph(0, rig.stream().cuda_handle(), [&] { softcap(rig.stream(), replayed.tensor, 3.0f); });
  graph.launch(rig.stream().cuda_handle());
  softcap(rig.stream(), eager.tensor, 3.0f);
  EXPECT_TRUE(same_bits(rig.download(replayed.tensor), rig.download(eager.tensor)));
}

}  // namespace
}  // namespace tandem
