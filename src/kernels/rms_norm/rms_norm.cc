#include "kernels/rms_norm/rms_norm.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/activations.h"
#include "kernels/rms_norm/rms_norm_cuda.h"
#include "kernels/simd/isa.h"

#define TANDEM_SIMD_FILE "kernels/rms_norm/rms_norm_simd.inc"
#include "kernels/simd/for_each_isa.inc"

namespace tandem {

void rms_norm(const Stream& stream, Tensor y, ConstTensor x, ConstTensor weight, float eps, float weight_offset) {
  check_activations("rms_norm: x", stream, x);
  check_dtype("rms_norm: y", y, x.dtype());
  check_dtype("rms_norm: weight", weight, DType::kF32);
  check_shape("rms_norm: y", y, x.shape());
  TANDEM_CHECK(x.num_dims() >= 1, "rms_norm of a scalar");
  const std::int64_t width = x.size(x.num_dims() - 1);
  check_shape("rms_norm: weight", weight, {width});
  if (x.num_elements() == 0) return;
  if (!stream.device().is_cpu()) {
    if constexpr (kBuiltWithCuda) {
      return check_launch("rms_norm", stream,
                          rms_norm_cuda(stream.cuda_handle(), x.dtype(), y.raw(), x.raw(), weight.data<float>(),
                                        x.num_elements() / width, width, eps, weight_offset));
    }
  }
  const auto rms_norm_row = TANDEM_PICK_ISA(rms_norm_row);
  const float* from = x.data<float>();
  float* to = y.data<float>();
  const float* gain = weight.data<float>();
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 14) / width);
  stream.parallel_for(x.num_elements() / width, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      rms_norm_row(to + row * width, from + row * width, gain, width, eps, weight_offset);
    }
  });
}

}  // namespace tandem
