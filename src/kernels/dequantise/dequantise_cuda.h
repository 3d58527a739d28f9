#pragma once
// dequantise on GPUs. Arguments are checked by the caller.

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tandem {

/// Returns a cudaError_t. `out` is contiguous, of `out_dtype`; w's rows lie `row_stride` bytes apart, at addresses that
/// suit their dtype (quad_alignment).
int dequantise_cuda(void* stream, DType out_dtype, void* out, DType dtype, const void* w, std::size_t row_stride,
                    std::int64_t rows, std::int64_t cols);

}  // namespace tandem
