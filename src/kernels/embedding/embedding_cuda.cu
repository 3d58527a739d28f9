// One block a token. Rows are a few KB: what takes time is the launch, and the first byte of each.
#include "kernels/embedding/embedding_cuda.h"

#include "device/cuda/launch.cuh"
#include "kernels/dequantise/quads.h"
#include "kernels/elements.cuh"

namespace tandem {
namespace {

constexpr unsigned kThreads = 256;

/// The row of this block's token; null where the table does not have it.
__device__ const std::uint8_t* find_row(const EmbeddingTable& table, const std::int32_t* token_ids) {
  const std::int64_t row = token_ids[blockIdx.x] - table.begin;
  return 0 <= row && row < table.rows ? table.data + row * table.row_stride : nullptr;
}

// A thread takes the two quads of a lane of quads.h.
template <DType kType, class T>
__global__ void embedding_blocks_kernel(T* out, EmbeddingTable table, const std::int32_t* token_ids,
                                        std::int64_t hidden, float scale) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const std::uint8_t* row = find_row(table, token_ids);
  T* to = out + std::int64_t{blockIdx.x} * hidden;
  for (std::int64_t i = threadIdx.x; i < hidden / kStepCols * kLanesOfStep; i += kThreads) {
    const std::int64_t step = i / kLanesOfStep;
    const int t = static_cast<int>(i % kLanesOfStep);
    Quads quads{};
    if (row != nullptr) quads = unpack_quads<kType>(load_quads<kType>(row, step, t), step, t);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const float x = row == nullptr ? 0.0f : quad_value<kType>(quads, h, k);
        to[step * kStepCols + quad_col(t, h, k)] = rounded<T>(x * scale);
      }
    }
  }
}

template <class W, class T>
__global__ void embedding_floats_kernel(T* out, EmbeddingTable table, const std::int32_t* token_ids,
                                        std::int64_t hidden, float scale) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const W* row = reinterpret_cast<const W*>(find_row(table, token_ids));
  T* to = out + std::int64_t{blockIdx.x} * hidden;
  for (std::int64_t i = threadIdx.x; i < hidden; i += kThreads) {
    to[i] = rounded<T>(row == nullptr ? 0.0f : as_float(row[i]) * scale);
  }
}

}  // namespace

int embedding_cuda(void* stream, DType dtype, void* out, const EmbeddingTable& table, const std::int32_t* token_ids,
                   std::int64_t num_tokens, std::int64_t hidden, float scale) {
  const cuda::Grid grid{.blocks = static_cast<unsigned>(num_tokens), .threads = kThreads};
  return dispatch_activation(dtype, [&]<class T>() {
    T* to = static_cast<T*>(out);
    const auto floats = [&]<class W>() {
      return cuda::launch(stream, grid, embedding_floats_kernel<W, T>, to, table, token_ids, hidden, scale);
    };
    if (is_float(table.dtype)) return dispatch_activation(table.dtype, floats);
    return dispatch_quantised(
        table.dtype,
        [&]<DType kType>() {
          return cuda::launch(stream, grid, embedding_blocks_kernel<kType, T>, to, table, token_ids, hidden, scale);
        },
        cudaErrorInvalidValue);
  });
}

}  // namespace tandem
