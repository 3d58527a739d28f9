#pragma once
// add on GPUs. Arguments are checked by the caller.

#include <cstdint>

#include "base/dtype.h"

namespace tandem {

/// Returns a cudaError_t. `dtype` is that of x and y.
int add_cuda(void* stream, DType dtype, void* x, const void* y, std::int64_t count);

}  // namespace tandem
