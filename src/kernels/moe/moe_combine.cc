#include "kernels/moe/moe_combine.h"

#include <algorithm>

#include "kernels/activations.h"
#include "kernels/moe/moe_combine_cuda.h"

namespace tandem {

void moe_combine(const Stream& stream, Tensor out, ConstTensor y, ConstTensor weights) {
  check_activations("moe_combine: out", stream, out);
  check_activations("moe_combine: y", stream, y);
  check_dtype("moe_combine: y", y, out.dtype());
  check_dtype("moe_combine: weights", weights, DType::kF32);
  TANDEM_CHECK(out.num_dims() == 2 && weights.num_dims() == 2, "moe_combine: out {}, weights {}",
               to_string(out.shape()), to_string(weights.shape()));
  const std::int64_t num_tokens = out.size(0), hidden = out.size(1), k = weights.size(1);
  check_shape("moe_combine: weights", weights, {num_tokens, k});
  check_shape("moe_combine: y", y, {num_tokens * k, hidden});
  if (out.num_elements() == 0) return;
  if (!stream.device().is_cpu()) {
    if constexpr (kBuiltWithCuda) {
      return check_launch("moe_combine", stream,
                          moe_combine_cuda(stream.cuda_handle(), out.dtype(), out.raw(), y.raw(), weights.data<float>(),
                                           num_tokens, k, hidden));
    }
  }
  float* to = out.data<float>();
  const float* from = y.data<float>();
  const float* weight = weights.data<float>();
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 14) / std::max<std::int64_t>(1, hidden * k));
  stream.parallel_for(num_tokens, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* row = to + t * hidden;
      std::fill(row, row + hidden, 0.0f);
      for (std::int64_t j = 0; j < k; ++j) {
        const float* expert = from + (t * k + j) * hidden;
        for (std::int64_t i = 0; i < hidden; ++i) row[i] += weight[t * k + j] * expert[i];
      }
    }
  });
}

}  // namespace tandem
