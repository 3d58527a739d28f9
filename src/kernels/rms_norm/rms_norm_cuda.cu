// One block a row, so that rows do not depend on each other.
#include <algorithm>

#include "device/cuda/launch.cuh"
#include "kernels/elements.cuh"
#include "kernels/rms_norm/rms_norm_cuda.h"

namespace tandem {
namespace {

constexpr std::int64_t kMaxThreads = 1024;

template <class T>
__global__ void rms_norm_kernel(T* y, const T* x, const float* __restrict__ weight, std::int64_t width, float eps,
                                float weight_offset) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const std::int64_t begin = std::int64_t{blockIdx.x} * width;
  float squares = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    const float value = as_float(x[begin + i]);
    squares += value * value;
  }
  const float scale = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(width) + eps);
  for (std::int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    y[begin + i] = rounded<T>(as_float(x[begin + i]) * scale * (weight[i] + weight_offset));
  }
}

}  // namespace

int rms_norm_cuda(void* stream, DType dtype, void* y, const void* x, const float* weight, std::int64_t rows,
                  std::int64_t width, float eps, float weight_offset) {
  const cuda::Grid grid{.blocks = static_cast<unsigned>(rows),
                        .threads = static_cast<unsigned>(std::min(kMaxThreads, (width + 31) / 32 * 32))};
  return dispatch_activation(dtype, [&]<class T>() {
    return cuda::launch(stream, grid, rms_norm_kernel<T>, static_cast<T*>(y), static_cast<const T*>(x), weight, width,
                        eps, weight_offset);
  });
}

}  // namespace tandem
