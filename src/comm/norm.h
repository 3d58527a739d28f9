#pragma once
// The residual addition and RMSNorm that follow an all-reduce, by themselves.

#include "comm/protocol/norm.h"
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// The tensors of Communicator::all_reduce_add_rms_norm, which are correct.
AddRmsNorm add_rms_norm_of(Tensor out, Tensor residual, ConstTensor x, ConstTensor weight, float epsilon);

/// residual <- residual + x; out <- residual / sqrt(mean(residual^2) + epsilon) * weight, row by row. `out` may be x.
/// On a GPU it is queued, on CPUs done on return.
void add_rms_norm(const Stream& stream, DType dtype, const AddRmsNorm& norm);

}  // namespace tandem
