#pragma once
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// out[t, i] = sum over j of weights[t, j] * y[t * k + j, i], added in order of j, in f32
///   out      [num_tokens, hidden]      activations
///   y        [num_tokens * k, hidden]  activations, what the chosen experts of each token gave
///   weights  [num_tokens, k]           f32
/// A token's result does not depend on the other tokens or on the threads.
void moe_combine(const Stream& stream, Tensor out, ConstTensor y, ConstTensor weights);

}  // namespace tandem
