#pragma once
#include <cstddef>

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
  Tensor scratch;                     ///< GPUs: see paged_attention_scratch_bytes; CPUs: none
};

/// Causal softmax attention over the paged cache. The queries of a sequence are its last tokens. For each query and
/// head
///   out = sum over visible keys j of softmax_j(scale * dot(q, k_j)) * v_j
///   out               [num_queries, out_cols]                     activations; columns outside of heads become zero
///   q                 [num_queries, q_heads, head_dim]            dtype of out; head_dim a multiple of 8, 16 to 256
///   k_pages, v_pages  [num_pages, page_size, kv_heads, head_dim]  dtype of out; the queries' keys already appended
///
/// On CPUs: f32 throughout. The bits of a (query, head) depend on its keys alone: not on the batch, on whether it came
/// in a prefill or a decode step, on the other heads here, or on the threads. Entries of the cache that a query does
/// not see have no influence, NaN included. Throws kInternal when the arguments contradict each other.
///
/// On GPUs: q, k_pages, v_pages and scratch are aligned to 16 bytes. Scores and sums are f32; f16 and bf16 weights of
/// the softmax are rounded to the dtype before they meet the values. There are two ways, chosen by the numbers of
/// queries and sequences: in decode steps (at most 16 queries, or 4 a sequence) a context is cut among blocks, else, in
/// prefills, it is not. In each of them the bits of a (query, head) depend on its keys and on the heads of the pages
/// alone; from one to the other its rounding differs. NaN in entries that no query of a sequence sees has no influence;
/// one that a query sees may reach others of the same prefill. The host does not see what query_begin, context_len and
/// page_table hold: a query before the start of its context (context_len 0 of a place that a batch leaves empty) gets
/// zeros; otherwise a contradiction is undefined behaviour.
void paged_attention(const Stream& stream, Tensor out, ConstTensor q, ConstTensor k_pages, ConstTensor v_pages,
                     const PagedAttentionArgs& args);

/// Bytes of scratch on GPUs, u8, for up to `num_queries` queries of these shapes. Its first bytes are counters: all of
/// it is zeroed by the caller once, then calls of any shapes, one stream's at a time, may share it.
std::size_t paged_attention_scratch_bytes(std::int64_t num_queries, std::int64_t q_heads, std::int64_t kv_heads,
                                          std::int64_t head_dim, std::int64_t group_size);

}  // namespace tandem
