#pragma once
// Elementwise kernels: y[i] = function(inputs[i]...), in f32, rounded to T.

#include "device/cuda/launch.cuh"
#include "kernels/elements.cuh"

namespace tandem {

template <class T, class Function, class... Inputs>
__device__ Elements16<T> map16(const Function& function, const Inputs&... inputs) {
  Elements16<T> results;
#pragma unroll
  for (int k = 0; k < Elements16<T>::kCount; ++k)
    results.values[k] = rounded<T>(function(as_float(inputs.values[k])...));
  return results;
}

// 16 bytes a thread. An element is read by the thread that writes it, before it does: y may be an input.
template <class T, class Function, class... Inputs>
__global__ void map_kernel(T* y, std::int64_t count, bool aligned, Function function, Inputs... inputs) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  constexpr int kCount = Elements16<T>::kCount;
  const std::int64_t begin = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
  if (aligned && begin + kCount <= count) {
    store16(y + begin, map16<T>(function, load16(inputs + begin)...));
  } else {
    for (std::int64_t i = begin; i < begin + kCount && i < count; ++i)
      y[i] = rounded<T>(function(as_float(inputs[i])...));
  }
}

/// Queues it for count > 0 elements; `function` takes and returns f32.
template <class T, class Function, class... Inputs>
cudaError_t launch_map(void* stream, T* y, std::int64_t count, const Function& function, const Inputs*... inputs) {
  constexpr std::int64_t kPerBlock = 256 * Elements16<T>::kCount;
  const bool aligned = is_aligned16(y) && (is_aligned16(inputs) && ...);
  const cuda::Grid grid{.blocks = static_cast<unsigned>((count + kPerBlock - 1) / kPerBlock), .threads = 256};
  return cuda::launch(stream, grid, map_kernel<T, Function, const Inputs*...>, y, count, aligned, function, inputs...);
}

}  // namespace tandem
