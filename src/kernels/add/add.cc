#include "kernels/add/add.h"

#include <cstring>

#include "kernels/activations.h"
#include "kernels/add/add_cuda.h"
#include "kernels/simd/isa.h"

#define TANDEM_SIMD_FILE "kernels/add/add_simd.inc"
#include "kernels/simd/for_each_isa.inc"

namespace tandem {

void add(const Stream& stream, Tensor x, ConstTensor y) {
  check_activations("add: x", stream, x);
  check_activations("add: y", stream, y);
  check_dtype("add: y", y, x.dtype());
  check_shape("add: y", y, x.shape());
  if (x.num_elements() == 0) return;
  if (!stream.device().is_cpu()) {
    if constexpr (kBuiltWithCuda) {
      return check_launch("add", stream, add_cuda(stream.cuda_handle(), x.dtype(), x.raw(), y.raw(), x.num_elements()));
    }
  }
  const auto add_row = TANDEM_PICK_ISA(add_row);
  float* to = x.data<float>();
  const float* from = y.data<float>();
  constexpr std::int64_t kGrain = 1 << 15;  // 128 KiB of each: below, waking a thread costs more than it saves
  stream.parallel_for(x.num_elements(), kGrain,
                      [=](std::int64_t begin, std::int64_t end) { add_row(to + begin, from + begin, end - begin); });
}

}  // namespace tandem
