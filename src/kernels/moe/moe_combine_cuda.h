#pragma once
// moe_combine on GPUs. Arguments are checked by the caller.

#include <cstdint>

#include "base/dtype.h"

namespace tandem {

/// Returns a cudaError_t. `dtype` is that of out and y.
int moe_combine_cuda(void* stream, DType dtype, void* out, const void* y, const float* weights, std::int64_t num_tokens,
                     std::int64_t k, std::int64_t hidden);

}  // namespace tandem
