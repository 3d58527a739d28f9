#pragma once
// qk_norm_rope_append on GPUs. Arguments are checked by the caller.

#include <cstdint>

#include "base/dtype.h"

namespace tandem {

struct QkNormRopeAppendCuda {
  void* q;
  const void* k;
  const void* v;
  void* k_pages;
  void* v_pages;
  const float* q_weight;  // and k_weight: null: no norm
  const float* k_weight;
  const float* inv_freq;
  const std::int32_t* positions;
  const std::int32_t* slots;
  std::int64_t num_tokens, num_slots, q_heads, kv_heads;
  int head_dim;  // even, at most 256
  int pairs;     // rotary_dim / 2
  float eps;
  float attention_scaling;
  bool interleaved;
};

/// Returns a cudaError_t. `dtype` is that of q, k, v and the pages.
int qk_norm_rope_append_cuda(void* stream, DType dtype, const QkNormRopeAppendCuda& args);

}  // namespace tandem
