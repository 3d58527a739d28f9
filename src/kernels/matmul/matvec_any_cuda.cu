// Any weights at any address: a block computes one row, its threads take turns along the columns. For routers of f32,
// for activations of f32, and for rows that are not in whole 16 bytes; nothing large comes here.
#include "device/cuda/launch.cuh"
#include "kernels/dequantise/quads.h"
#include "kernels/elements.cuh"
#include "kernels/matmul/matvec_cuda.h"
#include "kernels/matmul/matvec_parts.cuh"

namespace tandem {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;

/// Rows of W, a float type; a thread takes an element at a time.
template <class W>
struct PlainRow {
  static constexpr int kElements = 1;
  __device__ static void load(const std::uint8_t* row, std::int64_t i, float (&values)[kElements],
                              std::int64_t (&cols)[kElements]) {
    values[0] = as_float(reinterpret_cast<const W*>(row)[i]);
    cols[0] = i;
  }
};

/// Rows of blocks; a thread takes the quads of a lane.
template <DType kType>
struct QuadRow {
  static constexpr int kElements = 8;
  __device__ static void load(const std::uint8_t* row, std::int64_t i, float (&values)[kElements],
                              std::int64_t (&cols)[kElements]) {
    const std::int64_t step = i / kLanesOfStep;
    const int t = static_cast<int>(i % kLanesOfStep);
    const Quads quads = unpack_quads<kType>(load_quads<kType>(row, step, t), step, t);
#pragma unroll
    for (int k = 0; k < kElements; ++k) {
      values[k] = quad_value<kType>(quads, k / 4, k % 4);
      cols[k] = step * kStepCols + quad_col(t, k / 4, k % 4);
    }
  }
};

/// kTokens at a time. The order of a sum depends on cols only.
template <class T, class Row, int kTokens>
__global__ void __launch_bounds__(kThreads) matvec_any_kernel(const __grid_constant__ MatvecTask task) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  __shared__ float warp_sums[kWarps][kTokens];
  const MatvecPart& part = part_of_block(task);
  const std::int64_t row = blockIdx.x - part.first_block;
  const std::uint8_t* w = part.w + row * part.row_stride;
  const std::int64_t count = task.cols / Row::kElements;
  for (int first = 0; first < task.num_tokens; first += kTokens) {
    const T* x = static_cast<const T*>(task.x) + first * task.cols;
    float sums[kTokens] = {};
#pragma unroll(kTokens == 1 ? 8 : 1)
    for (std::int64_t i = threadIdx.x; i < count; i += kThreads) {
      float values[Row::kElements];
      std::int64_t cols[Row::kElements];
      Row::load(w, i, values, cols);
#pragma unroll
      for (int n = 0; n < kTokens; ++n) {
        if (first + n >= task.num_tokens) break;
#pragma unroll
        for (int k = 0; k < Row::kElements; ++k) sums[n] += values[k] * as_float(x[n * task.cols + cols[k]]);
      }
    }
#pragma unroll
    for (int n = 0; n < kTokens; ++n) {
      const float sum = warp_sum(sums[n]);
      if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32][n] = sum;
    }
    __syncthreads();
    const int n = static_cast<int>(threadIdx.x);
    if (n < kTokens && first + n < task.num_tokens) {
      float sum = 0;
#pragma unroll
      for (int i = 0; i < kWarps; ++i) sum += warp_sums[i][n];
      store_result<T>(part, row, first + n, sum);
    }
    __syncthreads();
  }
}

template <class T, class Row>
cudaError_t launch_rows(void* stream, MatvecTask task) {
  const cuda::Grid grid{.blocks = assign_blocks(task, 1), .threads = kThreads};
  return task.num_tokens == 1 ? cuda::launch(stream, grid, matvec_any_kernel<T, Row, 1>, task)
                              : cuda::launch(stream, grid, matvec_any_kernel<T, Row, 8>, task);
}

}  // namespace

int matvec_any_cuda(void* stream, MatvecTask task, DType x_dtype, DType w_dtype) {
  return dispatch_activation(x_dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, float>) {
      if (is_quantised(w_dtype)) {
        return dispatch_quantised(
            w_dtype, [&]<DType kType>() { return launch_rows<T, QuadRow<kType>>(stream, task); },
            cudaErrorInvalidValue);
      }
      return dispatch_activation(w_dtype, [&]<class W>() { return launch_rows<T, PlainRow<W>>(stream, task); });
    } else {
      if (w_dtype == DType::kF32) return launch_rows<T, PlainRow<float>>(stream, task);
      return w_dtype == x_dtype ? launch_rows<T, PlainRow<T>>(stream, task) : cudaErrorInvalidValue;
    }
  });
}

}  // namespace tandem
