#pragma once
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// x[i] = cap * tanh(x[i] / cap), as Gemma 2 bounds its logits
///   x    f32, contiguous
///   cap  > 0
/// A value's result does not depend on its place or on the threads; NaN stays NaN.
void softcap(const Stream& stream, Tensor x, float cap);

}  // namespace tandem
