#include "kernels/embedding/embedding.h"

#include <algorithm>

#include "kernels/dequantise/dequantise.h"

namespace tandem {

void embedding(const Stream& stream, Tensor out, ConstMatrix table, std::int64_t vocab_begin, ConstTensor token_ids,
               float scale) {
  check_dtype("embedding: out", out, DType::kF32);
  check_dtype("embedding: token_ids", token_ids, DType::kI32);
  TANDEM_CHECK(token_ids.num_dims() == 1, "embedding: token_ids {}", to_string(token_ids.shape()));
  const std::int64_t num_tokens = token_ids.size(0), hidden = table.cols;
  check_shape("embedding: out", out, {num_tokens, hidden});
  float* to = out.data<float>();
  const std::int32_t* ids = token_ids.data<std::int32_t>();
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 13) / std::max<std::int64_t>(1, hidden));
  stream.parallel_for(num_tokens, grain, [=, &table](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* row = to + t * hidden;
      const std::int64_t index = ids[t] - vocab_begin;
      if (index < 0 || index >= table.rows) {
        std::fill(row, row + hidden, 0.0f);
        continue;
      }
      dequantise_row(row, table.row(index), table.dtype, hidden);
      for (std::int64_t i = 0; i < hidden; ++i) row[i] *= scale;
    }
  });
}

}  // namespace tandem
