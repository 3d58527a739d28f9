#pragma once
#include "device/stream.h"
#include "device/tensor.h"
#include "kernels/rope/rope.h"

namespace tandem {

struct QkNormRopeAppendArgs {
  ConstTensor q_weight;   ///< [head_dim]        f32, of the norm of each head of q; left empty: q and k have no norm
  ConstTensor k_weight;   ///< [head_dim]        f32, of k; empty if and only if q_weight is
  float eps = 0.0f;       ///< of both norms
  ConstTensor positions;  ///< [num_tokens]      i32
  ConstTensor inv_freq;   ///< [rotary_dim / 2]  f32
  float attention_scaling = 1.0f;
  RopeStyle style = RopeStyle::kNeox;
  ConstTensor slots;  ///< [num_tokens]  i32, each once
};

/// What stands between the products of a layer's q, k and v and its attention, in one launch:
///   rms_norm of each head of q and of k, if there are weights; rope of both, in place; append_kv of k and v
///   q                 [num_tokens, q_heads, head_dim]             activations; head_dim even, at most 256 on GPUs
///   k, v              [num_tokens, kv_heads, head_dim]            dtype of q; what k holds afterwards is undefined
///   k_pages, v_pages  [num_pages, page_size, kv_heads, head_dim]  dtype of q
/// On CPUs the same bits as the operations it is made of. On GPUs values are rounded to the dtype once, at the end,
/// where those round after each step. A slot outside of the cache: as in append_kv, but on CPUs q and k have changed.
void qk_norm_rope_append(const Stream& stream, Tensor k_pages, Tensor v_pages, Tensor q, Tensor k, ConstTensor v,
                         const QkNormRopeAppendArgs& args);

}  // namespace tandem
