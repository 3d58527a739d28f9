#pragma once
// rope on GPUs. Arguments are checked by the caller.

#include <cstdint>

#include "base/dtype.h"

namespace tandem {

/// Returns a cudaError_t. `dtype` is that of x; pairs = rotary_dim / 2.
int rope_cuda(void* stream, DType dtype, void* x, const std::int32_t* positions, const float* inv_freq,
              std::int64_t num_tokens, std::int64_t heads, std::int64_t head_dim, std::int64_t pairs,
              float attention_scaling, bool interleaved);

}  // namespace tandem
