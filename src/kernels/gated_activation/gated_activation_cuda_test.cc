#include <limits>

#include "device/cuda/runtime.h"
#include "kernels/cuda_testing.h"
#include "kernels/gated_activation/gated_activation.h"

namespace tandem {
namespace {

constexpr Activation kAll[] = {Activation::kSilu, Activation::kGeluTanh, Activation::kGelu};

TEST(GatedActivationCuda, MatchesTheCpuTwin) {
  const CudaRig rig;
  for (const DType dtype : kActivationTypes) {
    for (const std::int64_t channels : {1, 7, 13, 576, 4099}) {
      for (const Activation activation : kAll) {
        const Shape shape{3, channels};
        const std::vector<float> gate = rounded_to(dtype, random_values(3 * channels, 1, 8.0f));
        const std::vector<float> up = rounded_to(dtype, random_values(3 * channels, 2));
        std::vector<float> expected(gate.size());
        gated_activation(Stream::cpu(1), tensor_of(expected, shape), tensor_of(gate, shape), tensor_of(up, shape),
                         activation);
        const OwnedTensor a = rig.upload(gate, dtype, shape), b = rig.upload(up, dtype, shape);
        const OwnedTensor y = rig.unwritten(dtype, shape);
        gated_activation(rig.stream(), y.tensor, a.tensor, b.tensor, activation);
        // f32 to some units in the last place, then one rounding to the dtype, whose least number is 2^-24 at most.
        // The twin's 1 + tanh and 1 + erf cancel: some eps absolute, times |x| <= 8.
        expect_near(rig.download(y.tensor), {expected.begin(), expected.end()}, 8 * 4 * 0x1p-24 + 0x1p-25,
                    0.5 * epsilon_of(dtype) + 32 * 0x1p-24);
        gated_activation(rig.stream(), a.tensor, a.tensor, b.tensor, activation);
        EXPECT_TRUE(same_bits(rig.download(a.tensor), rig.download(y.tensor))) << "in place of gate";
      }
    }
  }
}

TEST(GatedActivationCuda, NanStaysAndLargeValuesDoNotOverflow) {
  const CudaRig rig;
  for (const Activation activation : kAll) {
    const Shape shape{1, 5};
    const OwnedTensor gate =
        rig.upload({std::numeric_limits<float>::quiet_NaN(), 1e30f, -1e30f, 1e4f, -1e4f}, DType::kF32, shape);
    const OwnedTensor up = rig.upload(std::vector<float>(5, 2.0f), DType::kF32, shape);
    gated_activation(rig.stream(), up.tensor, gate.tensor, up.tensor, activation);
    const std::vector<float> y = rig.download(up.tensor);
    EXPECT_TRUE(std::isnan(y[0]));
    EXPECT_EQ(y[1], 2e30f);
    EXPECT_EQ(y[2], 0.0f);
    EXPECT_EQ(y[3], 2e4f);
    EXPECT_EQ(y[4], 0.0f);
  }
}

TEST(GatedActivationCuda, NoTokensAreLegal) {
  const CudaRig rig;
  const OwnedTensor none(rig.device(), DType::kBF16, {0, 8});
  gated_activation(rig.stream(), none.tensor, none.tensor, none.tensor, Activation::kSilu);
}

TEST(GatedActivationCuda, AGraphRepeatsIt) {
  const CudaRig rig;
  const OwnedTensor gate = rig.upload(random_values(77, 2, 9.0f), DType::kF32, {1, 77});
  const OwnedTensor eager = rig.unwritten(DType::kF32, {1, 77}), replayed = rig.unwritten(DType::kF32, {1, 77});
  const auto run = [&](const OwnedTensor& y) {
    gated_activation(rig.stream(), y.tensor, gate.tensor, gate.tensor, Activation::kSilu);
  };
  const cuda::Graph graph(0, rig.stream().cuda_handle(), [&] { run(replayed); });
  graph.launch(rig.stream().cuda_handle());
  run(eager);
  EXPECT_TRUE(same_bits(rig.download(replayed.tensor), rig.download(eager.tensor)));
}

}  // namespace
}  // namespace tandem
