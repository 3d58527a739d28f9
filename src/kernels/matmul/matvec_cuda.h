#pragma once
// Up to 16 tokens against weights on GPUs. Arguments are checked by the caller.

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tandem {

inline constexpr int kMatvecMaxParts = 4;
inline constexpr int kMatvecMaxTokens = 16;

struct MatvecPart {
  const std::uint8_t* w = nullptr;
  std::size_t row_stride = 0;
  std::int64_t rows = 0;        ///< above 0
  void* y = nullptr;            ///< [num_tokens, rows]
  const float* bias = nullptr;  ///< null: none
  bool y_is_f32 = false;        ///< else y has the dtype of x
  unsigned first_block = 0;     ///< of the grid; set by the launcher
};

/// Parts of one dtype that share x.
struct MatvecTask {
  MatvecPart parts[kMatvecMaxParts];
  int num_parts = 0;
  int num_tokens = 0;  ///< 1 to kMatvecMaxTokens
  const void* x = nullptr;
  std::int64_t cols = 0;  ///< above 0
};

/// Return a cudaError_t. The first for what row_tile_takes; the second for x of f32 and any weights, or weights of f32
/// or of x's dtype.
int matvec_mma_cuda(void* stream, const MatvecTask& task, DType x_dtype, DType w_dtype);
int matvec_any_cuda(void* stream, MatvecTask task, DType x_dtype, DType w_dtype);

}  // namespace tandem
