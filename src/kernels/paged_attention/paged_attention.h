#pragma once
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// What paged_attention reads besides the tensors. Query head h of this rank reads kv head
/// (first_query_head + h) / group_size - first_kv_head, so a rank may hold any slice of the heads.
struct PagedAttentionArgs {
  ConstTensor query_begin;  ///< [num_sequences + 1]         i32, rows of q of sequence s: [begin[s], begin[s + 1])
  ConstTensor context_len;  ///< [num_sequences]             i32, tokens in the cache, the queries' own included
  ConstTensor page_table;   ///< [num_sequences, max_pages]  i32; token p lies in page_table[s, p / page_size]
  float scale = 1.0f;       ///< of the dot products
  float softcap = 0.0f;     ///< scores become softcap * tanh(score / softcap); 0: they stay
  std::int32_t sliding_window = 0;    ///< the query at p sees the keys p - sliding_window + 1 to p; 0: all up to p
  std::int64_t group_size = 1;        ///< query heads a kv head, in the whole model
  std::int64_t first_query_head = 0;  ///< the model's number of the rank's query head 0
  std::int64_t first_kv_head = 0;     ///< the model's number of kv head 0 of the pages
  std::int64_t out_col_begin = 0;     ///< column of `out` where query head 0 starts
};

/// Causal softmax attention over the paged cache. The queries of a sequence are its last tokens. For each query and
/// head
///   out = sum over visible keys j of softmax_j(scale * dot(q, k_j)) * v_j
///   out               [num_queries, out_cols]                     f32; columns outside of the heads become zero
///   q                 [num_queries, q_heads, head_dim]            f32; head_dim a multiple of 8, 16 to 256
///   k_pages, v_pages  [num_pages, page_size, kv_heads, head_dim]  f32, the queries' own keys already appended
/// f32 throughout. Runs on the CPU. The bits of a (query, head) depend on its keys alone: not on the batch, on whether
/// it came in a prefill or a decode step, on the other heads here, or on the threads. Entries of the cache that a query
/// does not see have no influence, NaN included. Throws kInternal when the arguments contradict each other.
void paged_attention(const Stream& stream, Tensor out, ConstTensor q, ConstTensor k_pages, ConstTensor v_pages,
                     const PagedAttentionArgs& args);

}  // namespace tandem
