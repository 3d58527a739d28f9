#pragma once
// rms_norm on GPUs. Arguments are checked by the caller.

#include <cstdint>

#include "base/dtype.h"

namespace tandem {

/// Returns a cudaError_t. `dtype` is that of x and y.
int rms_norm_cuda(void* stream, DType dtype, void* y, const void* x, const float* weight, std::int64_t rows,
                  std::int64_t width, float eps, float weight_offset);

}  // namespace tandem
