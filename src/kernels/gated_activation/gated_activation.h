#pragma once
#include "device/stream.h"
#include "device/tensor.h"
#include "kernels/gated_activation/activation.h"

namespace tandem {

/// y[t, i] = activation(gate[t, i]) * up[t, i]
///   y, gate, up  [num_tokens, channels]  activations, contiguous; y may be gate or up
/// A value's result does not depend on its place, its neighbours or the threads; NaN stays NaN.
void gated_activation(const Stream& stream, Tensor y, ConstTensor gate, ConstTensor up, Activation activation);

}  // namespace tandem
