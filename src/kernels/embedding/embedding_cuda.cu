// One block a token. Rows are a few KB: what takes time is the launch, and the first byte of each.
#include "kernels/embedding/embedding_cuda.h"

#include "device/cuda/launch.cuh"
#include "kernels/dequantise/dequantise_cuda.cuh"

namespace tandem {
namespace {

constexpr unsigned kThreads = 256;

/// The row of this block's token; null where the table does not have it.
__device__ const std::byte* find_row(const EmbeddingTable& table, const std::int32_t* token_ids) {
  const std::int64_t row = token_ids[blockIdx.x] - table.begin;
  return 0 <= row && row < table.rows ? table.data + row * table.row_stride : nullptr;
}

// Eight elements a thread and turn; hidden is a multiple of 8.
template <class Reader, class T>
__global__ void embedding_kernel(T* out, EmbeddingTable table, const std::int32_t* token_ids, std::int64_t hidden,
                                 bool out_aligned, float scale) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const std::byte* row = find_row(table, token_ids);
  T* to = out + std::int64_t{blockIdx.x} * hidden;
  for (std::int64_t i = std::int64_t{threadIdx.x} * 8; i < hidden; i += kThreads * 8) {
    float x[8] = {};
    if (row != nullptr) Reader::load8(x, row, i);
    constexpr int kCount = Elements16<T>::kCount;
#pragma unroll
    for (int begin = 0; begin < 8; begin += kCount) {
      Elements16<T> elements;
#pragma unroll
      for (int k = 0; k < kCount; ++k) elements.values[k] = rounded<T>(x[begin + k] * scale);
      if (out_aligned) {
        store16(to + i + begin, elements);
      } else {
#pragma unroll
        for (int k = 0; k < kCount; ++k) to[i + begin + k] = elements.values[k];
      }
    }
  }
}

// Floats of any width at any address.
template <class W, class T>
__global__ void embedding_elements_kernel(T* out, EmbeddingTable table, const std::int32_t* token_ids,
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
  const bool table_aligned = is_aligned16(table.data) && table.row_stride % 16 == 0;
  return dispatch_activation(dtype, [&]<class T>() {
    T* to = static_cast<T*>(out);
    const auto by_eights = [&]<class Reader>() {
      const bool out_aligned = is_aligned16(to) && hidden * sizeof(T) % 16 == 0;
      return cuda::launch(stream, grid, embedding_kernel<Reader, T>, to, table, token_ids, hidden, out_aligned, scale);
    };
    cudaError_t result = cudaErrorInvalidValue;
    if (blocks::with_format(table.dtype,
                            [&]<class Format>() { result = by_eights.template operator()<BlockReader<Format>>(); })) {
      return result;
    }
    return dispatch_activation(table.dtype, [&]<class W>() {
      if (table_aligned && hidden % 8 == 0) return by_eights.template operator()<FloatReader<W>>();
      return cuda::launch(stream, grid, embedding_elements_kernel<W, T>, to, table, token_ids, hidden, scale);
    });
  });
}

}  // namespace tandem
