// Few slots: a block takes 16 rows for one slot. Many, so that experts are shared: a block takes 16 rows of one expert,
// looks for the slots that chose it, and multiplies 16 of them at a time. Which of the two depends on shapes alone.
#include "device/cuda/launch.cuh"
#include "kernels/elements.cuh"
#include "kernels/matmul/any_row.cuh"
#include "kernels/matmul/row_tile.cuh"
#include "kernels/moe/moe_matmul_cuda.h"

namespace tandem {
namespace {

constexpr int kScan = 4096;  // slots that a block looks through before it multiplies those of its expert

template <class T>
__device__ void store_slot(const ExpertsTask& task, std::int64_t slot, std::int64_t row, float sum) {
  const std::int64_t place = slot * task.rows + row;
  if (task.y_is_f32) {
    static_cast<float*>(task.y)[place] = sum;
  } else {
    static_cast<T*>(task.y)[place] = rounded<T>(sum);
  }
}

template <class T>
__device__ const T* x_of_slot(const ExpertsTask& task, std::int64_t slot) {
  return static_cast<const T*>(task.x) + slot / task.slots_of_x * task.cols;
}

/// Waits for the routing; null where there is no such expert.
__device__ const std::uint8_t* expert_of_slot(const ExpertsTask& task, std::int64_t slot) {
  cuda::wait_for_kernels_before();
  const int expert = task.expert_ids[slot];
  return expert >= 0 && expert < task.num_experts ? task.experts[expert] : nullptr;
}

template <class T, class Steps>
__global__ void __launch_bounds__(kTileThreads, 2)
    slot_kernel(const __grid_constant__ ExpertsTask task, unsigned tiles_of_slot) {
  cuda::let_next_kernel_start();
  const std::int64_t slot = blockIdx.x / tiles_of_slot;
  const std::uint8_t* w = expert_of_slot(task, slot);
  if (w == nullptr) return;
  const TileRows tile{w, task.row_stride, task.rows, task.cols, std::int64_t{blockIdx.x % tiles_of_slot} * kTileRows};
  multiply_tile<T, Steps, 1, false>(
      tile, [&](int token) { return token == 0 ? x_of_slot<T>(task, slot) : nullptr; },
      [&](std::int64_t row, int token, float sum) {
        if (token == 0) store_slot<T>(task, slot, row, sum);
      });
}

template <class T, class Steps>
__global__ void __launch_bounds__(kTileThreads, 2)
    expert_kernel(const __grid_constant__ ExpertsTask task, unsigned tiles_of_expert) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  constexpr int kTokenTiles = 2, kTokens = kTokensOfTile * kTokenTiles;
  __shared__ int slots[kScan];  // of this expert; in no order, since no sum depends on its neighbours
  __shared__ int num_found;
  const int expert = static_cast<int>(blockIdx.x / tiles_of_expert);
  const TileRows tile{task.experts[expert], task.row_stride, task.rows, task.cols,
                      std::int64_t{blockIdx.x % tiles_of_expert} * kTileRows};
  for (std::int64_t begin = 0; begin < task.num_slots; begin += kScan) {
    if (threadIdx.x == 0) num_found = 0;
    __syncthreads();
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x); i < kScan; i += kTileThreads) {
      if (begin + i < task.num_slots && task.expert_ids[begin + i] == expert) slots[atomicAdd(&num_found, 1)] = i;
    }
    __syncthreads();
    const int count = num_found;
    for (int first = 0; first < count; first += kTokens) {
      multiply_tile<T, Steps, kTokenTiles, false>(
          tile,
          [&](int token) { return first + token < count ? x_of_slot<T>(task, begin + slots[first + token]) : nullptr; },
          [&](std::int64_t row, int token, float sum) {
            if (first + token < count) store_slot<T>(task, begin + slots[first + token], row, sum);
          });
      __syncthreads();
    }
    __syncthreads();
  }
}

template <class T, class Row>
__global__ void __launch_bounds__(kRowThreads) any_slot_kernel(const __grid_constant__ ExpertsTask task) {
  cuda::let_next_kernel_start();
  const std::int64_t slot = blockIdx.x / task.rows, row = blockIdx.x % task.rows;
  const std::uint8_t* w = expert_of_slot(task, slot);
  if (w == nullptr) return;
  multiply_row<T, Row, 1>(w + row * task.row_stride, x_of_slot<T>(task, slot), task.cols, 1,
                          [&](int, float sum) { store_slot<T>(task, slot, row, sum); });
}

}  // namespace

int moe_matmul_cuda(void* stream, const ExpertsTask& task, DType x_dtype, DType w_dtype, bool tiles) {
  if (!tiles) {
    const cuda::Grid grid{.blocks = static_cast<unsigned>(task.num_slots * task.rows), .threads = kRowThreads};
    return dispatch_any_row(x_dtype, w_dtype, [&]<class T, class Row>() {
      return cuda::launch(stream, grid, any_slot_kernel<T, Row>, task);
    });
  }
  const auto num_tiles = static_cast<unsigned>((task.rows + kTileRows - 1) / kTileRows);
  const bool few = task.num_slots <= task.num_experts;
  const std::int64_t blocks = (few ? task.num_slots : task.num_experts) * num_tiles;
  const cuda::Grid grid{.blocks = static_cast<unsigned>(blocks), .threads = kTileThreads};
  return dispatch_steps(x_dtype, w_dtype, [&]<class T, class Steps>() {
    return few ? cuda::launch(stream, grid, slot_kernel<T, Steps>, task, num_tiles)
               : cuda::launch(stream, grid, expert_kernel<T, Steps>, task, num_tiles);
  });
}

}  // namespace tandem
