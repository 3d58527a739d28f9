#include "kernels/cuda_testing.h"
#include "kernels/rope/rope.h"

namespace tandem {
namespace {

TEST(RopeCuda, MatchesTheCpuTwin) {
  const CudaRig rig;
  const Stream cpu = Stream::cpu(2);
  const std::vector<std::int32_t> positions{0, 1, 2, 3, 511, 8191, 131071, 1048575};
  const std::int64_t n = static_cast<std::int64_t>(positions.size());
  const OwnedTensor place = rig.upload(positions, {n});
  struct Case {
    std::int64_t heads, head_dim, rotary_dim;
    RopeStyle style;
    float attention_scaling;
  };
  for (const Case& c : {Case{3, 64, 64, RopeStyle::kNeox, 1.0f}, Case{7, 48, 24, RopeStyle::kNeox, 1.0f},
                        Case{1, 80, 80, RopeStyle::kInterleaved, 1.2f}, Case{5, 13, 6, RopeStyle::kInterleaved, 1.0f},
                        Case{2, 256, 256, RopeStyle::kNeox, 1.0f}}) {
    std::vector<float> inv_freq;
    for (std::int64_t i = 0; i < c.rotary_dim / 2; ++i) {
      inv_freq.push_back(static_cast<float>(std::pow(10000.0, -2.0 * static_cast<double>(i) / 64)));
    }
    const OwnedTensor frequencies = rig.upload(inv_freq, DType::kF32, {c.rotary_dim / 2});
    for (const DType dtype : kActivationTypes) {
      SCOPED_TRACE(format("{} of {}, {}", c.rotary_dim, c.head_dim, to_string(dtype)));
      const Shape shape{n, c.heads, c.head_dim};
      const std::vector<float> x = rounded_to(dtype, random_values(shape.num_elements(), 1));
      std::vector<float> expected = x;
      rope(cpu, tensor_of(expected, shape), tensor_of(positions, {n}), tensor_of(inv_freq, {c.rotary_dim / 2}),
           c.attention_scaling, c.style);
      const OwnedTensor eager = rig.upload(x, dtype, shape), replayed = rig.upload(x, dtype, shape);
      rope(rig.stream(), eager.tensor, place.tensor, frequencies.tensor, c.attention_scaling, c.style);
      // Values below 1: sine and cosine within 2^-23, two products and a sum, and the rounding to the dtype.
      expect_near(rig.download(eager.tensor), {expected.begin(), expected.end()}, 16 * 0x1p-24 * c.attention_scaling,
                  0.5 * epsilon_of(dtype));
      const cuda::Graph graph(0, rig.stream().cuda_handle(), [&] {
        rope(rig.stream(), replayed.tensor, place.tensor, frequencies.tensor, c.attention_scaling, c.style);
      });
      graph.launch(rig.stream().cuda_handle());
      EXPECT_TRUE(same_bits(rig.download(replayed.tensor), rig.download(eager.tensor))) << "replayed";
    }
  }
}

TEST(RopeCuda, NoTokensAndNoHeadsAreLegal) {
  const CudaRig rig;
  const OwnedTensor inv_freq = rig.upload(std::vector<float>(4, 1.0f), DType::kF32, {4});
  const OwnedTensor positions = rig.upload(std::vector<std::int32_t>(3), {3});
  rope(rig.stream(), {nullptr, DType::kF16, {0, 2, 8}, rig.device()}, positions.tensor.slice(0, 0), inv_freq.tensor,
       1.0f, RopeStyle::kNeox);
  rope(rig.stream(), {nullptr, DType::kF16, {3, 0, 8}, rig.device()}, positions.tensor, inv_freq.tensor, 1.0f,
       RopeStyle::kNeox);
  rig.stream().synchronize();
}

}  // namespace
}  // namespace tandem
