#include "kernels/cuda_testing.h"
#include "kernels/rms_norm/rms_norm.h"

namespace tandem {
namespace {

TEST(RmsNormCuda, MatchesTheCpuTwin) {
  const CudaRig rig;
  const Stream cpu = Stream::cpu(2);
  for (const DType dtype : kActivationTypes) {
    for (const std::int64_t width : {1, 7, 64, 576, 1031, 8192}) {
      for (const float offset : {0.0f, 1.0f}) {
        const std::vector<float> x = rounded_to(dtype, random_values(5 * width, 1, 3.0f));
        const std::vector<float> weight = random_values(width, 2);
        std::vector<float> expected(x.size());
        rms_norm(cpu, tensor_of(expected, {5, width}), tensor_of(x, {5, width}), tensor_of(weight, {width}), 1e-5f,
                 offset);
        const OwnedTensor in = rig.upload(x, dtype, {5, width}), gain = rig.upload(weight, DType::kF32, {width});
        const OwnedTensor out = rig.unwritten(dtype, {5, width});
        rms_norm(rig.stream(), out.tensor, in.tensor, gain.tensor, 1e-5f, offset);
        // One rounding to the dtype; sums of squares have no cancellation.
        const double bound = 0.5 * epsilon_of(dtype) + (static_cast<double>(width) / 8 + 16) * 0x1p-23;
        expect_near(rig.download(out.tensor), {expected.begin(), expected.end()}, 16 * 0x1p-24, bound);
        rms_norm(rig.stream(), in.tensor, in.tensor, gain.tensor, 1e-5f, offset);
        EXPECT_TRUE(same_bits(rig.download(in.tensor), rig.download(out.tensor))) << "in place";
      }
    }
  }
}

}  // namespace
}  // namespace tandem
