#include "kernels/embedding/embedding.h"

#include <algorithm>

#include "kernels/activations.h"
#include "kernels/dequantise/dequantise.h"
#include "kernels/dequantise/quads.h"
#include "kernels/embedding/embedding_cuda.h"

namespace tandem {

void embedding(const Stream& stream, Tensor out, ConstMatrix table, std::int64_t vocab_begin, ConstTensor token_ids,
               float scale) {
  check_activations("embedding: out", stream, out);
  check_dtype("embedding: token_ids", token_ids, DType::kI32);
  TANDEM_CHECK(token_ids.num_dims() == 1, "embedding: token_ids {}", to_string(token_ids.shape()));
  const std::int64_t num_tokens = token_ids.size(0), hidden = table.cols;
  check_shape("embedding: out", out, {num_tokens, hidden});
  if (out.num_elements() == 0) return;
  if (!stream.device().is_cpu()) {
    if constexpr (kBuiltWithCuda) {
      TANDEM_CHECK(table.device == stream.device(), "embedding: table is on {}, the stream on {}",
                   to_string(table.device), to_string(stream.device()));
      const EmbeddingTable on_gpu{static_cast<const std::uint8_t*>(table.data), table.dtype, table.rows,
                                  static_cast<std::int64_t>(table.row_stride), vocab_begin};
      const auto alignment = static_cast<std::uintptr_t>(
          is_float(table.dtype) ? dtype_bytes(table.dtype, 1) : static_cast<std::size_t>(quad_alignment(table.dtype)));
      TANDEM_CHECK((reinterpret_cast<std::uintptr_t>(table.data) | table.row_stride) % alignment == 0,
                   "embedding: table of {} at {}, rows every {} bytes", to_string(table.dtype), table.data,
                   table.row_stride);
      return check_launch("embedding", stream,
                          embedding_cuda(stream.cuda_handle(), out.dtype(), out.raw(), on_gpu,
                                         token_ids.data<std::int32_t>(), num_tokens, hidden, scale));
    }
  }
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
