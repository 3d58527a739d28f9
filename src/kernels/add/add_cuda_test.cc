#include "device/cuda/runtime.h"
#include "kernels/add/add.h"
#include "kernels/cuda_testing.h"

namespace tandem {
namespace {

TEST(AddCuda, MatchesTheCpuTwin) {
  const CudaRig rig;
  for (const DType dtype : kActivationTypes) {
    for (const std::int64_t count : {0, 1, 7, 13, 576, 70001}) {
      const std::vector<float> x = rounded_to(dtype, random_values(count, 1));
      const std::vector<float> y = rounded_to(dtype, random_values(count, 2));
      std::vector<float> expected = x;
      add(Stream::cpu(1), tensor_of(expected, {count}), tensor_of(y, {count}));
      const OwnedTensor to = rig.upload(x, dtype, {count}), from = rig.upload(y, dtype, {count});
      add(rig.stream(), to.tensor, from.tensor);
      // One sum in f32, one rounding: as the CPU's, rounded.
      EXPECT_TRUE(same_bits(rig.download(to.tensor), rounded_to(dtype, expected))) << count << " " << to_string(dtype);
    }
  }
}

TEST(AddCuda, TakesTensorsThatStartAnywhere) {
  const CudaRig rig;
  const std::vector<float> x = rounded_to(DType::kBF16, random_values(1000, 3));
  for (const std::int64_t begin : {1, 3, 8}) {
    const OwnedTensor to = rig.upload(x, DType::kBF16, {1000}), from = rig.upload(x, DType::kBF16, {1000});
    add(rig.stream(), to.tensor.slice(begin, 990), from.tensor.slice(8, 998 - begin));
    const std::vector<float> sum = rig.download(to.tensor);
    std::vector<float> expected = x;
    for (std::int64_t i = begin; i < 990; ++i) {
      expected[static_cast<std::size_t>(i)] += x[static_cast<std::size_t>(i - begin + 8)];
    }
    EXPECT_TRUE(same_bits(sum, rounded_to(DType::kBF16, expected))) << begin;
  }
}

TEST(AddCuda, AGraphRepeatsIt) {
  const CudaRig rig;
  const OwnedTensor x = rig.upload({1, 2, 3}, DType::kF32, {3}), y = rig.upload({4, 5, 6}, DType::kF32, {3});
  const cuda::Graph graph(0, rig.stream().cuda_handle(), [&] { add(rig.stream(), x.tensor, y.tensor); });
  graph.launch(rig.stream().cuda_handle());
  graph.launch(rig.stream().cuda_handle());
  EXPECT_EQ(rig.download(x.tensor), (std::vector<float>{9, 12, 15}));
}

}  // namespace
}  // namespace tandem
