#pragma once
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// Writes the keys and values of new tokens into their places of the paged cache:
///   k_pages[slots[t] / page_size, slots[t] % page_size] = k[t], and v likewise
///   k_pages, v_pages  [num_pages, page_size, kv_heads, head_dim]  f32
///   k, v              [num_tokens, kv_heads, head_dim]            f32
///   slots             [num_tokens]                                i32, each once
/// Runs on the CPU. Throws kInternal when a slot lies outside of the cache; nothing is written then.
void append_kv(const Stream& stream, Tensor k_pages, Tensor v_pages, ConstTensor k, ConstTensor v, ConstTensor slots);

}  // namespace tandem
