#pragma once
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

enum class Activation {
  kSilu,      ///< x / (1 + e^-x)
  kGeluTanh,  ///< x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), "gelu_pytorch_tanh" of Hugging Face
  kGelu,      ///< x / 2 (1 + erf(x / sqrt 2))
};

/// y[t, i] = activation(gate[t, i]) * up[t, i]
///   y, gate, up  [num_tokens, channels]  f32, contiguous; y may be gate or up
/// Runs on the CPU. A value's result does not depend on its place, its neighbours or the threads; NaN stays NaN.
void gated_activation(const Stream& stream, Tensor y, ConstTensor gate, ConstTensor up, Activation activation);

}  // namespace tandem
