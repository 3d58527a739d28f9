// A block computes 16 rows for all tokens: row_tile.cuh.
#include "kernels/matmul/matvec_cuda.h"
#include "kernels/matmul/matvec_parts.cuh"
#include "kernels/matmul/row_tile.cuh"

namespace tandem {
namespace {

// Two blocks a multiprocessor: up to 128 KB of weights under way on each, several times what the memory's latency asks.
template <class T, class Steps, int kTokenTiles>
__global__ void __launch_bounds__(kTileThreads, 2) matvec_kernel(const __grid_constant__ MatvecTask task) {
  cuda::let_next_kernel_start();
  const MatvecPart& part = part_of_block(task);
  const TileRows tile{part.w, part.row_stride, part.rows, task.cols,
                      std::int64_t{blockIdx.x - part.first_block} * kTileRows};
  const auto x_of = [&](int token) {
    return token < task.num_tokens ? static_cast<const T*>(task.x) + token * task.cols : nullptr;
  };
  multiply_tile<T, Steps, kTokenTiles, true>(tile, x_of, [&](std::int64_t row, int token, float sum) {
    if (token < task.num_tokens) store_result<T>(part, row, token, sum);
  });
}

template <class T, class Steps>
cudaError_t launch_tiles(void* stream, MatvecTask task) {
  const cuda::Grid grid{.blocks = assign_blocks(task, kTileRows), .threads = kTileThreads};
  return task.num_tokens <= kTokensOfTile ? cuda::launch(stream, grid, matvec_kernel<T, Steps, 1>, task)
                                          : cuda::launch(stream, grid, matvec_kernel<T, Steps, 2>, task);
}

}  // namespace

int matvec_mma_cuda(void* stream, const MatvecTask& task, DType x_dtype, DType w_dtype) {
  return dispatch_steps(x_dtype, w_dtype, [&]<class T, class Steps>() { return launch_tiles<T, Steps>(stream, task); });
}

}  // namespace tandem
