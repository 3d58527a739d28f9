// One warp a head of q, k or v of a token, with the head in its registers: a lane holds pairs of channels, those that
// turn together or, beyond rotary_dim, neighbours.
#include "kernels/qk_norm_rope_append/qk_norm_rope_append_cuda.h"

#include "device/cuda/launch.cuh"
#include "kernels/elements.cuh"
#include "kernels/rope/rope.cuh"

namespace tandem {
namespace {

constexpr unsigned kWarps = 4;          // of a block: a decode step has few heads, which then spread over many SMs
constexpr int kPairsOfLane = 256 / 64;  // of the widest head

template <class T>
__global__ void __launch_bounds__(kWarps * 32) qk_norm_rope_append_kernel(const QkNormRopeAppendCuda args) {
  cuda::let_next_kernel_start();
  const int lane = static_cast<int>(threadIdx.x % 32), half = args.head_dim / 2;
  const std::int64_t heads = args.q_heads + 2 * args.kv_heads;
  const std::int64_t row = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  const std::int64_t token = row / heads, head = row % heads;
  const bool is_q = head < args.q_heads, is_v = head >= args.q_heads + args.kv_heads;
  const int pairs = is_v ? 0 : args.pairs;
  const float* weight = is_v ? nullptr : is_q ? args.q_weight : args.k_weight;

  PairPlace place[kPairsOfLane];
  float frequency[kPairsOfLane], weight_a[kPairsOfLane], weight_b[kPairsOfLane];
#pragma unroll
  for (int j = 0; j < kPairsOfLane; ++j) {
    const int pair = lane + 32 * j;
    place[j] = pair_place(pair, pairs, args.interleaved || pair >= pairs);
    frequency[j] = pair < pairs ? args.inv_freq[pair] : 0.0f;
    weight_a[j] = weight != nullptr && pair < half ? weight[place[j].a] : 1.0f;
    weight_b[j] = weight != nullptr && pair < half ? weight[place[j].b] : 1.0f;
  }
  cuda::wait_for_kernels_before();
  if (token >= args.num_tokens) return;  // whole warps

  const std::int64_t kv_head = is_v ? head - args.q_heads - args.kv_heads : head - args.q_heads;
  const T* from =
      is_q ? static_cast<const T*>(args.q) + (token * args.q_heads + head) * args.head_dim
           : static_cast<const T*>(is_v ? args.v : args.k) + (token * args.kv_heads + kv_head) * args.head_dim;
  const float position = static_cast<float>(args.positions[token]);
  const std::int64_t slot = args.slots[token];
  float a[kPairsOfLane], b[kPairsOfLane], squares = 0;
#pragma unroll
  for (int j = 0; j < kPairsOfLane; ++j) {
    const bool held = lane + 32 * j < half;
    a[j] = held ? as_float(from[place[j].a]) : 0.0f;
    b[j] = held ? as_float(from[place[j].b]) : 0.0f;
    squares += a[j] * a[j] + b[j] * b[j];
  }
  float scale = 1.0f;
  if (weight != nullptr) scale = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(args.head_dim) + args.eps);
#pragma unroll
  for (int j = 0; j < kPairsOfLane; ++j) {
    a[j] *= scale * weight_a[j];
    b[j] *= scale * weight_b[j];
    if (lane + 32 * j < pairs) {
      SinCos turn = sin_cos(position * frequency[j]);
      turn.sin *= args.attention_scaling;
      turn.cos *= args.attention_scaling;
      rotate_pair(a[j], b[j], turn);
    }
  }
  if (!is_q && (slot < 0 || slot >= args.num_slots)) return;
  T* to = is_q ? static_cast<T*>(args.q) + (token * args.q_heads + head) * args.head_dim
               : static_cast<T*>(is_v ? args.v_pages : args.k_pages) + (slot * args.kv_heads + kv_head) * args.head_dim;
#pragma unroll
  for (int j = 0; j < kPairsOfLane; ++j) {
    if (lane + 32 * j < half) {
      to[place[j].a] = rounded<T>(a[j]);
      to[place[j].b] = rounded<T>(b[j]);
    }
  }
}

}  // namespace

int qk_norm_rope_append_cuda(void* stream, DType dtype, const QkNormRopeAppendCuda& args) {
  const std::int64_t rows = args.num_tokens * (args.q_heads + 2 * args.kv_heads);
  const cuda::Grid grid{.blocks = static_cast<unsigned>((rows + kWarps - 1) / kWarps), .threads = kWarps * 32};
  return dispatch_activation(
      dtype, [&]<class T>() { return cuda::launch(stream, grid, qk_norm_rope_append_kernel<T>, args); });
}

}  // namespace tandem
