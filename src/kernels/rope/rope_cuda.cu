// A thread a pair, so that nothing depends on the other heads and tokens.
#include "kernels/rope/rope_cuda.h"

#include "device/cuda/launch.cuh"
#include "kernels/elements.cuh"
#include "kernels/rope/rope.cuh"

namespace tandem {
namespace {

constexpr unsigned kThreads = 256;

template <class T>
__global__ void rope_kernel(T* x, const std::int32_t* positions, const float* __restrict__ inv_freq, std::int64_t count,
                            std::int64_t heads, std::int64_t head_dim, std::int64_t pairs, float attention_scaling,
                            bool interleaved) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const std::int64_t row = i / pairs;  // a head of a token
  const int pair = static_cast<int>(i % pairs);
  SinCos turn = sin_cos(static_cast<float>(positions[row / heads]) * inv_freq[pair]);
  turn.sin *= attention_scaling;
  turn.cos *= attention_scaling;
  const PairPlace place = pair_place(pair, static_cast<int>(pairs), interleaved);
  T* head = x + row * head_dim;
  float a = as_float(head[place.a]), b = as_float(head[place.b]);
  rotate_pair(a, b, turn);
  head[place.a] = rounded<T>(a);
  head[place.b] = rounded<T>(b);
}

}  // namespace

int rope_cuda(void* stream, DType dtype, void* x, const std::int32_t* positions, const float* inv_freq,
              std::int64_t num_tokens, std::int64_t heads, std::int64_t head_dim, std::int64_t pairs,
              float attention_scaling, bool interleaved) {
  const std::int64_t count = num_tokens * heads * pairs;
  const cuda::Grid grid{.blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads), .threads = kThreads};
  return dispatch_activation(dtype, [&]<class T>() {
    return cuda::launch(stream, grid, rope_kernel<T>, static_cast<T*>(x), positions, inv_freq, count, heads, head_dim,
                        pairs, attention_scaling, interleaved);
  });
}

}  // namespace tandem
