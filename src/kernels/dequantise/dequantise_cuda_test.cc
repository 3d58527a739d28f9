#include "kernels/dequantise/dequantise.h"
#include "kernels/weights_testing.h"

namespace tandem {
namespace {

TEST(DequantiseCuda, HasTheBitsOfTheCpuTwinRounded) {
  const CudaRig rig;
  for (const DType dtype : kWeightTypes) {
    const std::int64_t block = dtype_info(dtype).block_size;
    for (const std::int64_t num_blocks : {1, 3, 7, 37}) {
      for (const std::int64_t rows : {1, 5}) {
        const std::int64_t cols = num_blocks * block;
        const TestWeights w(rig, dtype, rows, cols, block, 7);
        std::vector<float> expected(static_cast<std::size_t>(rows * cols));
        dequantise(Stream::cpu(1), tensor_of(expected, {rows, cols}), w.host());
        for (const DType out_dtype : kActivationTypes) {
          SCOPED_TRACE(format("{} [{}, {}] as {}", to_string(dtype), rows, cols, to_string(out_dtype)));
          const OwnedTensor out = rig.unwritten(out_dtype, {rows, cols});
          dequantise(rig.stream(), out.tensor, w.device());
          EXPECT_TRUE(same_bits(rig.download(out.tensor), rounded_to(out_dtype, expected)));
        }
      }
    }
  }
}

TEST(DequantiseCuda, AcceptsNothing) {
  const CudaRig rig;
  const TestWeights w(rig, DType::kQ8_0, 3, 64, 0, 7);
  dequantise(rig.stream(), OwnedTensor(rig.device(), DType::kBF16, {0, 64}).tensor, w.device().slice(0, 0, 0, 64));
  dequantise(rig.stream(), OwnedTensor(rig.device(), DType::kBF16, {3, 0}).tensor, w.device().slice(0, 3, 0, 0));
  rig.stream().synchronize();
}

}  // namespace
}  // namespace tandem
