#pragma once
// gated_activation on GPUs. Arguments are checked by the caller.

#include <cstdint>

#include "base/dtype.h"
#include "kernels/gated_activation/activation.h"

namespace tandem {

/// Returns a cudaError_t. `dtype` is that of y, gate and up.
int gated_activation_cuda(void* stream, DType dtype, void* y, const void* gate, const void* up, std::int64_t count,
                          Activation activation);

}  // namespace tandem
