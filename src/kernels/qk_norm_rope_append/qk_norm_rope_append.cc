#include "kernels/qk_norm_rope_append/qk_norm_rope_append.h"

#include "kernels/activations.h"
#include "kernels/append_kv/append_kv.h"
#include "kernels/qk_norm_rope_append/qk_norm_rope_append_cuda.h"
#include "kernels/rms_norm/rms_norm.h"

namespace tandem {
namespace {

void qk_norm_rope_append_cpu(const Stream& stream, Tensor k_pages, Tensor v_pages, Tensor q, Tensor k, ConstTensor v,
                             const QkNormRopeAppendArgs& args) {
  if (args.q_weight.raw() != nullptr) {
    rms_norm(stream, q, q, args.q_weight, args.eps, 0);
    rms_norm(stream, k, k, args.k_weight, args.eps, 0);
  }
  rope(stream, q, args.positions, args.inv_freq, args.attention_scaling, args.style);
  rope(stream, k, args.positions, args.inv_freq, args.attention_scaling, args.style);
  append_kv(stream, k_pages, v_pages, k, v, args.slots);
}

}  // namespace

void qk_norm_rope_append(const Stream& stream, Tensor k_pages, Tensor v_pages, Tensor q, Tensor k, ConstTensor v,
                         const QkNormRopeAppendArgs& args) {
  const bool has_norm = args.q_weight.raw() != nullptr;
  TANDEM_CHECK(has_norm == (args.k_weight.raw() != nullptr), "qk_norm_rope_append: only one of q and k has a norm");
  if (stream.device().is_cpu()) return qk_norm_rope_append_cpu(stream, k_pages, v_pages, q, k, v, args);
  check_activations("qk_norm_rope_append: q", stream, q);
  for (const ConstTensor& x : {ConstTensor(k), v, ConstTensor(k_pages), ConstTensor(v_pages)}) {
    check_dtype("qk_norm_rope_append: k, v or their pages", x, q.dtype());
  }
  TANDEM_CHECK(q.num_dims() == 3 && k_pages.num_dims() == 4 && args.inv_freq.num_dims() == 1,
               "qk_norm_rope_append: q {}, k_pages {}, inv_freq {}", to_string(q.shape()), to_string(k_pages.shape()),
               to_string(args.inv_freq.shape()));
  const std::int64_t num_tokens = q.size(0), head_dim = q.size(2), kv_heads = k_pages.size(2);
  const std::int64_t pairs = args.inv_freq.size(0);
  TANDEM_CHECK(head_dim % 2 == 0 && head_dim <= 256 && 2 * pairs <= head_dim,
               "qk_norm_rope_append: {} pairs in heads of {}", pairs, head_dim);
  check_shape("qk_norm_rope_append: k", k, {num_tokens, kv_heads, head_dim});
  check_shape("qk_norm_rope_append: v", v, k.shape());
  check_shape("qk_norm_rope_append: k_pages", k_pages, {k_pages.size(0), k_pages.size(1), kv_heads, head_dim});
  check_shape("qk_norm_rope_append: v_pages", v_pages, k_pages.shape());
  check_shape("qk_norm_rope_append: positions", args.positions, {num_tokens});
  check_shape("qk_norm_rope_append: slots", args.slots, {num_tokens});
  if (has_norm) {
    check_shape("qk_norm_rope_append: q_weight", args.q_weight, {head_dim});
    check_shape("qk_norm_rope_append: k_weight", args.k_weight, {head_dim});
  }
  if (num_tokens == 0 || head_dim == 0 || q.size(1) + kv_heads == 0) return;
  if constexpr (kBuiltWithCuda) {
    check_launch("qk_norm_rope_append", stream,
                 qk_norm_rope_append_cuda(stream.cuda_handle(), q.dtype(),
                                          {.q = q.raw(),
                                           .k = k.raw(),
                                           .v = v.raw(),
                                           .k_pages = k_pages.raw(),
                                           .v_pages = v_pages.raw(),
                                           .q_weight = has_norm ? args.q_weight.data<float>() : nullptr,
                                           .k_weight = has_norm ? args.k_weight.data<float>() : nullptr,
                                           .inv_freq = args.inv_freq.data<float>(),
                                           .positions = args.positions.data<std::int32_t>(),
                                           .slots = args.slots.data<std::int32_t>(),
                                           .num_tokens = num_tokens,
                                           .num_slots = k_pages.size(0) * k_pages.size(1),
                                           .q_heads = q.size(1),
                                           .kv_heads = kv_heads,
                                           .head_dim = static_cast<int>(head_dim),
                                           .pairs = static_cast<int>(pairs),
                                           .eps = args.eps,
                                           .attention_scaling = args.attention_scaling,
                                           .interleaved = args.style == RopeStyle::kInterleaved}));
  }
}

}  // namespace tandem
