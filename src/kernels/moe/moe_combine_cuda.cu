// 16 bytes of a token a thread; each token has blocks of its own.
#include "device/cuda/launch.cuh"
#include "kernels/elements.cuh"
#include "kernels/moe/moe_combine_cuda.h"

namespace tandem {
namespace {

constexpr unsigned kThreads = 128;

template <class T>
__global__ void moe_combine_kernel(T* out, const T* y, const float* weights, std::int64_t k, std::int64_t hidden,
                                   unsigned blocks_a_token, bool aligned) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  constexpr int kCount = Elements16<T>::kCount;
  const std::int64_t token = blockIdx.x / blocks_a_token;
  const std::int64_t begin = (std::int64_t{blockIdx.x % blocks_a_token} * kThreads + threadIdx.x) * kCount;
  out += token * hidden;
  y += token * k * hidden;
  weights += token * k;
  if (aligned && begin + kCount <= hidden) {
    float sums[kCount] = {};
    for (std::int64_t j = 0; j < k; ++j) {
      const Elements16<T> x = load16(y + j * hidden + begin);
#pragma unroll
      for (int i = 0; i < kCount; ++i) sums[i] += weights[j] * as_float(x.values[i]);
    }
    Elements16<T> result;
#pragma unroll
    for (int i = 0; i < kCount; ++i) result.values[i] = rounded<T>(sums[i]);
    store16(out + begin, result);
  } else {
    for (std::int64_t i = begin; i < begin + kCount && i < hidden; ++i) {
      float sum = 0;
      for (std::int64_t j = 0; j < k; ++j) sum += weights[j] * as_float(y[j * hidden + i]);
      out[i] = rounded<T>(sum);
    }
  }
}

}  // namespace

int moe_combine_cuda(void* stream, DType dtype, void* out, const void* y, const float* weights, std::int64_t num_tokens,
                     std::int64_t k, std::int64_t hidden) {
  return dispatch_activation(dtype, [&]<class T>() {
    constexpr std::int64_t kPerBlock = kThreads * Elements16<T>::kCount;
    const auto blocks_a_token = static_cast<unsigned>((hidden + kPerBlock - 1) / kPerBlock);
    const bool aligned = is_aligned16(out) && is_aligned16(y) && hidden % Elements16<T>::kCount == 0;
    const cuda::Grid grid{.blocks = static_cast<unsigned>(num_tokens) * blocks_a_token, .threads = kThreads};
    return cuda::launch(stream, grid, moe_combine_kernel<T>, static_cast<T*>(out), static_cast<const T*>(y), weights, k,
                        hidden, blocks_a_token, aligned);
  });
}

}  // namespace tandem
