#pragma once
// embedding on GPUs. Arguments are checked by the caller.

#include <cstdint>

#include "base/dtype.h"

namespace tandem {

struct EmbeddingTable {
  const std::uint8_t* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t rows = 0, row_stride = 0;  ///< bytes
  std::int64_t begin = 0;                 ///< the token of row 0
};

/// Returns a cudaError_t. `dtype` is that of out.
int embedding_cuda(void* stream, DType dtype, void* out, const EmbeddingTable& table, const std::int32_t* token_ids,
                   std::int64_t num_tokens, std::int64_t hidden, float scale);

}  // namespace tandem
