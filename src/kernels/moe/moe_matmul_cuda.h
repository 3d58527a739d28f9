#pragma once
// moe_matmul on GPUs. Arguments are checked by the caller.

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tandem {

/// Their addresses are an argument of the kernel, which may hold 4 KB.
inline constexpr std::size_t kMaxExperts = 256;

/// A slot is a token's pick of an expert: slot t * k + j, a row of y.
struct ExpertsTask {
  std::size_t row_stride = 0;
  std::int64_t rows = 0, cols = 0;  ///< rows above 0
  const void* x = nullptr;
  std::int64_t slots_of_x = 1;  ///< how many slots share a row of x
  void* y = nullptr;
  bool y_is_f32 = false;  ///< else y has the dtype of x
  const std::int32_t* expert_ids = nullptr;
  std::int64_t num_slots = 0;  ///< above 0
  int num_experts = 0;
  const std::uint8_t* experts[kMaxExperts] = {};
};

/// Returns a cudaError_t. `tiles`: row_tile_takes all experts.
int moe_matmul_cuda(void* stream, const ExpertsTask& task, DType x_dtype, DType w_dtype, bool tiles);

}  // namespace tandem
