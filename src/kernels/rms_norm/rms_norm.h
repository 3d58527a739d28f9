#pragma once
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// y[r, i] = x[r, i] / sqrt(mean over i of x[r, i]^2 + eps) * (weight[i] + weight_offset)
///   x, y    [..., width]  activations, contiguous, at least one dimension; rows are all but the last; y may be x
///   weight  [width]       f32
///   weight_offset         0; 1 for Gemma, whose files hold weight - 1
/// Accumulates in f32. A row's result does not depend on the other rows or on the threads.
void rms_norm(const Stream& stream, Tensor y, ConstTensor x, ConstTensor weight, float eps, float weight_offset);

}  // namespace tandem
