// One warp a token. The k largest are found one after the other, each as the largest below the one before.
#include "device/cuda/launch.cuh"
#include "device/cuda/memory.cuh"
#include "kernels/elements.cuh"
#include "kernels/moe/moe_route_cuda.h"

namespace tandem {
namespace {

// In order of probability, then of lower expert. Probabilities are no less than 0, so their bits order them; a NaN, of
// which there are as many as experts or none, counts as the largest, its sign dropped.
__device__ std::uint64_t rank_key(float probability, std::int64_t expert) {
  const std::uint32_t bits = __float_as_uint(probability) & 0x7fffffffu;
  return std::uint64_t{bits} << 32 | (0xffffffffu - static_cast<std::uint32_t>(expert));
}

__global__ void moe_route_kernel(std::int32_t* expert_ids, float* weights, const float* logits,
                                 std::int64_t num_experts, std::int64_t k, bool normalise) {
  float* probabilities = cuda::dynamic_shared<float>();
  float* chosen = probabilities + num_experts;
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  logits += std::int64_t{blockIdx.x} * num_experts;
  float top = -INFINITY;
  for (std::int64_t e = threadIdx.x; e < num_experts; e += 32) top = fmaxf(top, logits[e]);
  top = warp_max(top);
  float sum = 0;
  for (std::int64_t e = threadIdx.x; e < num_experts; e += 32) {
    probabilities[e] = expf(logits[e] - top);
    sum += probabilities[e];
  }
  sum = warp_sum(sum);
  for (std::int64_t e = threadIdx.x; e < num_experts; e += 32) probabilities[e] /= sum;
  // From here on a lane reads its own probabilities alone.
  std::uint64_t before = ~std::uint64_t{0};
  float chosen_sum = 0;
  for (std::int64_t j = 0; j < k; ++j) {
    std::uint64_t best = 0;
    for (std::int64_t e = threadIdx.x; e < num_experts; e += 32) {
      const std::uint64_t key = rank_key(probabilities[e], e);
      if (key < before && key > best) best = key;
    }
    before = warp_max(best);
    const auto expert = static_cast<std::int32_t>(0xffffffffu - static_cast<std::uint32_t>(before));
    const float weight = __uint_as_float(static_cast<std::uint32_t>(before >> 32));
    chosen_sum += weight;
    if (threadIdx.x == 0) {
      expert_ids[std::int64_t{blockIdx.x} * k + j] = expert;
      chosen[j] = weight;
    }
  }
  __syncwarp();
  for (std::int64_t j = threadIdx.x; j < k; j += 32) {
    weights[std::int64_t{blockIdx.x} * k + j] = normalise ? chosen[j] / chosen_sum : chosen[j];
  }
}

}  // namespace

int moe_route_cuda(void* stream, std::int32_t* expert_ids, float* weights, const float* logits, std::int64_t num_tokens,
                   std::int64_t num_experts, std::int64_t k, bool normalise) {
  const cuda::Grid grid{.blocks = static_cast<unsigned>(num_tokens),
                        .threads = 32,
                        .shared_bytes = static_cast<std::size_t>(num_experts + k) * sizeof(float)};
  return cuda::launch(stream, grid, moe_route_kernel, expert_ids, weights, logits, num_experts, k, normalise);
}

}  // namespace tandem
