// A thread takes eight elements of a row: the quads of a lane in quantised blocks, neighbours else.
#include "device/cuda/launch.cuh"
#include "kernels/dequantise/dequantise_cuda.h"
#include "kernels/dequantise/quads.h"
#include "kernels/elements.cuh"

namespace tandem {
namespace {

constexpr int kThreads = 256;
constexpr int kElements = 8;

struct Matrix {
  const std::uint8_t* data;
  std::size_t row_stride;
  std::int64_t cols;
  std::int64_t num_eights;  ///< of all rows
  std::int64_t row_eights;  ///< of a row, the last perhaps not full
};

template <class Out, DType kType>
__global__ void dequantise_kernel(Out* out, Matrix w) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= w.num_eights) return;
  const std::int64_t row = i / w.row_eights, eight = i % w.row_eights;
  const std::int64_t step = eight / kLanesOfStep;
  const int t = static_cast<int>(eight % kLanesOfStep);
  const Quads quads = unpack_quads<kType>(load_quads<kType>(w.data + row * w.row_stride, step, t), step, t);
  Out* to = out + row * w.cols + step * kStepCols;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int k = 0; k < 4; ++k) to[quad_col(t, h, k)] = rounded<Out>(quad_value<kType>(quads, h, k));
  }
}

template <class Out, class In>
__global__ void convert_kernel(Out* out, Matrix w) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= w.num_eights) return;
  const std::int64_t row = i / w.row_eights, begin = i % w.row_eights * kElements;
  const auto* from = reinterpret_cast<const In*>(w.data + row * w.row_stride);
#pragma unroll
  for (int k = 0; k < kElements; ++k) {
    const std::int64_t col = begin + k;
    if (col < w.cols) out[row * w.cols + col] = rounded<Out>(as_float(from[col]));
  }
}

}  // namespace

int dequantise_cuda(void* stream, DType out_dtype, void* out, DType dtype, const void* w, std::size_t row_stride,
                    std::int64_t rows, std::int64_t cols) {
  const std::int64_t row_eights = (cols + kElements - 1) / kElements;
  const Matrix matrix{static_cast<const std::uint8_t*>(w), row_stride, cols, rows * row_eights, row_eights};
  const cuda::Grid grid{.blocks = static_cast<unsigned>((matrix.num_eights + kThreads - 1) / kThreads),
                        .threads = kThreads};
  return dispatch_activation(out_dtype, [&]<class Out>() {
    Out* to = static_cast<Out*>(out);
    if (is_float(dtype)) {
      return dispatch_activation(
          dtype, [&]<class In>() { return cuda::launch(stream, grid, convert_kernel<Out, In>, to, matrix); });
    }
    return dispatch_quantised(
        dtype, [&]<DType kType>() { return cuda::launch(stream, grid, dequantise_kernel<Out, kType>, to, matrix); },
        cudaErrorInvalidValue);
  });
}

}  // namespace tandem
