#pragma once
// paged_attention on GPUs. Arguments are checked by the caller; names as in PagedAttentionArgs.

#include <cstdint>

#include "base/dtype.h"

namespace tandem {

struct PagedAttentionCuda {
  void* out;
  const void* q;
  const void* k_pages;
  const void* v_pages;
  const std::int32_t* query_begin;
  const std::int32_t* context_len;
  const std::int32_t* page_table;
  void* scratch;
  std::int64_t num_queries, num_sequences, max_pages, page_size, q_heads, kv_heads, out_cols, out_col_begin;
  std::int64_t group_size, first_query_head, first_kv_head;
  int head_dim;
  int sliding_window;
  // Scores are powers of two: dot product * score_scale, or score_cap * tanh(dot product * score_scale) if score_cap >
  // 0.
  float score_scale;
  float score_cap;
};

/// Each returns a cudaError_t. `dtype` is that of all activations and pages; there are queries.
/// Chooses between the two ways below.
int paged_attention_cuda(void* stream, DType dtype, const PagedAttentionCuda& args);
/// Any dtype, any GPU; meant for few queries a sequence.
int decode_attention_cuda(void* stream, DType dtype, const PagedAttentionCuda& args);
/// f16 and bf16, sm_80 and later; meant for many.
int prefill_attention_cuda(void* stream, DType dtype, const PagedAttentionCuda& args);

}  // namespace tandem
