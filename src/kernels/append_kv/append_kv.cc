#include "kernels/append_kv/append_kv.h"

#include <algorithm>
#include <cstring>

#include "kernels/activations.h"
#include "kernels/append_kv/append_kv_cuda.h"

namespace tandem {

void append_kv(const Stream& stream, Tensor k_pages, Tensor v_pages, ConstTensor k, ConstTensor v, ConstTensor slots) {
  check_activations("append_kv: k_pages", stream, k_pages);
  check_dtype("append_kv: v_pages", v_pages, k_pages.dtype());
  check_dtype("append_kv: k", k, k_pages.dtype());
  check_dtype("append_kv: v", v, k_pages.dtype());
  TANDEM_CHECK(k_pages.num_dims() == 4 && slots.num_dims() == 1, "append_kv: k_pages {}, slots {}",
               to_string(k_pages.shape()), to_string(slots.shape()));
  const std::int64_t num_tokens = slots.size(0);
  check_shape("append_kv: v_pages", v_pages, k_pages.shape());
  check_shape("append_kv: k", k, {num_tokens, k_pages.size(2), k_pages.size(3)});
  check_shape("append_kv: v", v, k.shape());
  const std::int32_t* slot = slots.data<std::int32_t>();
  const std::int64_t num_slots = k_pages.size(0) * k_pages.size(1), width = k_pages.size(2) * k_pages.size(3);
  if (!stream.device().is_cpu()) {
    if (num_tokens == 0 || width == 0) return;
    if constexpr (kBuiltWithCuda) {
      return check_launch("append_kv", stream,
                          append_kv_cuda(stream.cuda_handle(), k_pages.raw(), v_pages.raw(), k.raw(), v.raw(), slot,
                                         num_tokens, num_slots, dtype_bytes(k.dtype(), width)));
    }
  }
  for (std::int64_t t = 0; t < num_tokens; ++t) {
    TANDEM_CHECK(0 <= slot[t] && slot[t] < num_slots, "append_kv: token {} to slot {} of {}", t, slot[t], num_slots);
  }
  if (num_tokens == 0 || width == 0) return;

  // Pages lie one after the other, so a slot is a row of the whole cache.
  float* k_to = k_pages.data<float>();
  float* v_to = v_pages.data<float>();
  const float* k_from = k.data<float>();
  const float* v_from = v.data<float>();
  const std::size_t bytes = static_cast<std::size_t>(width) * sizeof(float);
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 14) / width);
  stream.parallel_for(num_tokens, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      std::memcpy(k_to + slot[t] * width, k_from + t * width, bytes);
      std::memcpy(v_to + slot[t] * width, v_from + t * width, bytes);
    }
  });
}

}  // namespace tandem
