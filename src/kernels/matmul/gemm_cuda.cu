// The plain product of tiles, for machines without cuBLASLt and for pairs of dtypes that it does not take.
#include <algorithm>

#include "device/cuda/launch.cuh"
#include "kernels/elements.cuh"
#include "kernels/matmul/gemm_cuda.h"

namespace tandem {
namespace {

constexpr int kTile = 64;      // tokens and rows of a block
constexpr int kTileCols = 16;  // columns in shared memory
constexpr int kThreads = 256;  // 16 by 16
constexpr int kOfThread = 4;   // tokens and rows of a thread, 16 apart
constexpr unsigned kMaxGridY = 65535;

__device__ void store(const GemmTask& task, std::int64_t place, float value) {
  if (task.y_dtype == DType::kF32) {
    static_cast<float*>(task.y)[place] = value;
  } else if (task.y_dtype == DType::kF16) {
    static_cast<__half*>(task.y)[place] = rounded<__half>(value);
  } else {
    static_cast<__nv_bfloat16*>(task.y)[place] = rounded<__nv_bfloat16>(value);
  }
}

template <class T, class W>
__global__ void __launch_bounds__(kThreads) gemm_kernel(const __grid_constant__ GemmTask task) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  __shared__ float x_tile[kTileCols][kTile + 1], w_tile[kTileCols][kTile + 1];
  const int thread = static_cast<int>(threadIdx.x), thread_row = thread % 16, thread_token = thread / 16;
  const std::int64_t first_row = std::int64_t{blockIdx.x} * kTile;
  for (std::int64_t first_token = std::int64_t{blockIdx.y} * kTile; first_token < task.num_tokens;
       first_token += std::int64_t{gridDim.y} * kTile) {
    float sums[kOfThread][kOfThread] = {};
    for (std::int64_t first_col = 0; first_col < task.cols; first_col += kTileCols) {
      const std::int64_t col = first_col + thread % kTileCols;
#pragma unroll
      for (int i = thread / kTileCols; i < kTile; i += kThreads / kTileCols) {
        const std::int64_t token = first_token + i, row = first_row + i;
        const auto* w = reinterpret_cast<const W*>(static_cast<const std::uint8_t*>(task.w) + row * task.w_row_stride);
        x_tile[thread % kTileCols][i] = token < task.num_tokens && col < task.cols
                                            ? as_float(static_cast<const T*>(task.x)[token * task.cols + col])
                                            : 0.0f;
        w_tile[thread % kTileCols][i] = row < task.rows && col < task.cols ? as_float(w[col]) : 0.0f;
      }
      __syncthreads();
#pragma unroll
      for (int c = 0; c < kTileCols; ++c) {
        float x[kOfThread], w[kOfThread];
#pragma unroll
        for (int i = 0; i < kOfThread; ++i) {
          x[i] = x_tile[c][thread_token + 16 * i];
          w[i] = w_tile[c][thread_row + 16 * i];
        }
#pragma unroll
        for (int i = 0; i < kOfThread; ++i) {
#pragma unroll
          for (int j = 0; j < kOfThread; ++j) sums[i][j] += x[i] * w[j];
        }
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kOfThread; ++i) {
      const std::int64_t token = first_token + thread_token + 16 * i;
#pragma unroll
      for (int j = 0; j < kOfThread; ++j) {
        const std::int64_t row = first_row + thread_row + 16 * j;
        if (token >= task.num_tokens || row >= task.rows) continue;
        store(task, token * task.y_stride + row, sums[i][j] + (task.bias != nullptr ? task.bias[row] : 0.0f));
      }
    }
  }
}

__global__ void fill_rows_kernel(const __grid_constant__ GemmTask task) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const std::int64_t row = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= task.rows) return;
  const float value = task.bias != nullptr ? task.bias[row] : 0.0f;
  for (std::int64_t token = blockIdx.y; token < task.num_tokens; token += gridDim.y) {
    store(task, token * task.y_stride + row, value);
  }
}

unsigned grid_y(std::int64_t count) {
  return static_cast<unsigned>(std::min<std::int64_t>(count, kMaxGridY));
}

}  // namespace

int gemm_cuda(void* stream, const GemmTask& task) {
  const cuda::Grid grid{.blocks = dim3(static_cast<unsigned>((task.rows + kTile - 1) / kTile),
                                       grid_y((task.num_tokens + kTile - 1) / kTile)),
                        .threads = kThreads};
  return dispatch_activation(task.x_dtype, [&]<class T>() {
    return dispatch_activation(task.w_dtype, [&]<class W>() {
      if constexpr (std::is_same_v<T, W> || std::is_same_v<T, float> || std::is_same_v<W, float>) {
        return cuda::launch(stream, grid, gemm_kernel<T, W>, task);
      } else {
        return cudaErrorInvalidValue;
      }
    });
  });
}

int fill_rows_cuda(void* stream, const GemmTask& task) {
  const cuda::Grid grid{
      .blocks = dim3(static_cast<unsigned>((task.rows + kThreads - 1) / kThreads), grid_y(task.num_tokens)),
      .threads = kThreads};
  return cuda::launch(stream, grid, fill_rows_kernel, task);
}

}  // namespace tandem
