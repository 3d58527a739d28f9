// A block computes one row for all tokens: any_row.cuh.
#include "device/cuda/launch.cuh"
#include "kernels/matmul/any_row.cuh"
#include "kernels/matmul/matvec_cuda.h"
#include "kernels/matmul/matvec_parts.cuh"

namespace tandem {
namespace {

template <class T, class Row, int kTokens>
__global__ void __launch_bounds__(kRowThreads) matvec_any_kernel(const __grid_constant__ MatvecTask task) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const MatvecPart& part = part_of_block(task);
  const std::int64_t row = blockIdx.x - part.first_block;
  for (int first = 0; first < task.num_tokens; first += kTokens) {
    multiply_row<T, Row, kTokens>(part.w + row * part.row_stride, static_cast<const T*>(task.x) + first * task.cols,
                                  task.cols, task.num_tokens - first,
                                  [&](int n, float sum) { store_result<T>(part, row, first + n, sum); });
    __syncthreads();
  }
}

}  // namespace

int matvec_any_cuda(void* stream, MatvecTask task, DType x_dtype, DType w_dtype) {
  const cuda::Grid grid{.blocks = assign_blocks(task, 1), .threads = kRowThreads};
  return dispatch_any_row(x_dtype, w_dtype, [&]<class T, class Row>() {
    return task.num_tokens == 1 ? cuda::launch(stream, grid, matvec_any_kernel<T, Row, 1>, task)
                                : cuda::launch(stream, grid, matvec_any_kernel<T, Row, 8>, task);
  });
}

}  // namespace tandem
