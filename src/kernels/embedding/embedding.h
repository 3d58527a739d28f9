#pragma once
#include "device/matrix.h"
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// out[t, :] = scale * table[token_ids[t] - vocab_begin, :], or zeros where that row is not in the table: of a
/// vocabulary cut over ranks every rank looks up its own rows, and the sum over the ranks is the whole.
///   out          [num_tokens, hidden]  activations
///   table        [rows, hidden]        any dtype that dequantise_row takes; the tokens from vocab_begin on.
///                                      On a GPU its rows start at multiples of an element, or, quantised, of 2 bytes,
///                                      and of 4 where a block is a multiple of 4
///   token_ids    [num_tokens]          i32, any numbers: outside of the vocabulary they give zeros
///   scale        1; sqrt(hidden) for Gemma
/// A token's result does not depend on the other tokens or on the threads.
void embedding(const Stream& stream, Tensor out, ConstMatrix table, std::int64_t vocab_begin, ConstTensor token_ids,
               float scale);

}  // namespace tandem
