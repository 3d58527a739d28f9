#pragma once
// Products of many tokens on GPUs without a library: slow, for any shape. Arguments are checked by the caller.

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tandem {

/// y[t, r] = sum over c of x[t, c] * w[r, c] (+ bias[r])
struct GemmTask {
  void* y = nullptr;
  std::int64_t y_stride = 0;  ///< elements from one token to the next
  DType y_dtype = DType::kF32;
  const void* x = nullptr;
  DType x_dtype = DType::kF32;
  const void* w = nullptr;
  DType w_dtype = DType::kF32;   ///< f32 or that of x; any float where that is f32
  std::size_t w_row_stride = 0;  ///< bytes
  const float* bias = nullptr;   ///< null: none
  std::int64_t num_tokens = 0, rows = 0, cols = 0;
};

/// Both return a cudaError_t. gemm_cuda: tiles in shared memory.
int gemm_cuda(void* stream, const GemmTask& task);

/// y[t, r] = bias[r], or 0: what a product is added to, and all of it where there are no columns.
int fill_rows_cuda(void* stream, const GemmTask& task);

}  // namespace tandem
