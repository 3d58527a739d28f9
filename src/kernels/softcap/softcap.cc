#include "kernels/softcap/softcap.h"

#include <cstring>

#include "kernels/activations.h"
#include "kernels/simd/isa.h"
#include "kernels/softcap/softcap_cuda.h"

#define TANDEM_SIMD_FILE "kernels/softcap/softcap_simd.inc"
#include "kernels/simd/for_each_isa.inc"

namespace tandem {

void softcap(const Stream& stream, Tensor x, float cap) {
  check_dtype("softcap: x", x, DType::kF32);
  TANDEM_CHECK(x.device() == stream.device(), "softcap: x is on {}, the stream on {}", to_string(x.device()),
               to_string(stream.device()));
  TANDEM_CHECK(cap > 0, "softcap of {}", cap);
  if (x.num_elements() == 0) return;
  if (!stream.device().is_cpu()) {
    if constexpr (kBuiltWithCuda) {
      return check_launch("softcap", stream,
                          softcap_cuda(stream.cuda_handle(), x.data<float>(), x.num_elements(), cap));
    }
  }
  const auto softcap_row = TANDEM_PICK_ISA(softcap_row);
  float* values = x.data<float>();
  stream.parallel_for(x.num_elements(), 1 << 13,
                      [=](std::int64_t begin, std::int64_t end) { softcap_row(values + begin, cap, end - begin); });
}

}  // namespace tandem
