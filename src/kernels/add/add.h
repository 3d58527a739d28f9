#pragma once
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// x[i] += y[i]
///   x, y  same shape, activations, contiguous, not overlapping
/// Throws kInternal on other shapes or dtypes.
void add(const Stream& stream, Tensor x, ConstTensor y);

}  // namespace tandem
