#pragma once
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// Writes the keys and values of new tokens into their places of the paged cache:
///   k_pages[slots[t] / page_size, slots[t] % page_size] = k[t], and v likewise
///   k_pages, v_pages  [num_pages, page_size, kv_heads, head_dim]  activations
///   k, v              [num_tokens, kv_heads, head_dim]            dtype of the pages
///   slots             [num_tokens]                                i32, each once
/// A slot outside of the cache: on CPUs throws kInternal, and nothing is written; on GPUs, where the host does not see
/// the slots, that token is not written.
void append_kv(const Stream& stream, Tensor k_pages, Tensor v_pages, ConstTensor k, ConstTensor v, ConstTensor slots);

}  // namespace tandem
