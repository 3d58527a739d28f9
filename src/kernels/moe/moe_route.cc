#include "kernels/moe/moe_route.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/activations.h"
#include "kernels/moe/moe_route_cuda.h"

namespace tandem {
namespace {

void route_token(std::int32_t* ids, float* weights, std::int64_t k, const float* logits, std::int64_t num_experts,
                 bool normalise) {
  thread_local std::vector<float> probabilities;
  thread_local std::vector<char> taken;
  probabilities.resize(static_cast<std::size_t>(num_experts));
  taken.assign(static_cast<std::size_t>(num_experts), 0);
  float* p = probabilities.data();

  const float top = *std::max_element(logits, logits + num_experts);
  float sum = 0.0f;
  for (std::int64_t e = 0; e < num_experts; ++e) {
    p[e] = std::exp(logits[e] - top);
    sum += p[e];
  }
  for (std::int64_t e = 0; e < num_experts; ++e) p[e] /= sum;

  float chosen_sum = 0.0f;
  for (std::int64_t j = 0; j < k; ++j) {
    std::int64_t best = -1;
    for (std::int64_t e = 0; e < num_experts; ++e) {
      if (!taken[static_cast<std::size_t>(e)] && (best < 0 || p[e] > p[best])) best = e;
    }
    taken[static_cast<std::size_t>(best)] = 1;
    ids[j] = static_cast<std::int32_t>(best);
    weights[j] = p[best];
    chosen_sum += p[best];
  }
  if (normalise) {
    for (std::int64_t j = 0; j < k; ++j) weights[j] /= chosen_sum;
  }
}

}  // namespace

void moe_route(const Stream& stream, Tensor expert_ids, Tensor weights, ConstTensor logits, bool normalise) {
  check_dtype("moe_route: expert_ids", expert_ids, DType::kI32);
  check_dtype("moe_route: weights", weights, DType::kF32);
  check_dtype("moe_route: logits", logits, DType::kF32);
  TANDEM_CHECK(expert_ids.num_dims() == 2 && logits.num_dims() == 2, "moe_route: expert_ids {}, logits {}",
               to_string(expert_ids.shape()), to_string(logits.shape()));
  const std::int64_t num_tokens = logits.size(0), num_experts = logits.size(1), k = expert_ids.size(1);
  check_shape("moe_route: expert_ids", expert_ids, {num_tokens, k});
  check_shape("moe_route: weights", weights, {num_tokens, k});
  TANDEM_CHECK(1 <= k && k <= num_experts, "moe_route: {} of {} experts", k, num_experts);
  TANDEM_CHECK(logits.device() == stream.device(), "moe_route: logits are on {}, the stream on {}",
               to_string(logits.device()), to_string(stream.device()));
  if (num_tokens == 0) return;
  std::int32_t* ids = expert_ids.data<std::int32_t>();
  float* to = weights.data<float>();
  const float* from = logits.data<float>();
  if (!stream.device().is_cpu()) {
    if constexpr (kBuiltWithCuda) {
      TANDEM_CHECK(num_experts <= kMaxRoutedExperts, "moe_route: {} experts", num_experts);
      return check_launch("moe_route", stream,
                          moe_route_cuda(stream.cuda_handle(), ids, to, from, num_tokens, num_experts, k, normalise));
    }
  }
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 12) / (num_experts * k));
  stream.parallel_for(num_tokens, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      route_token(ids + t * k, to + t * k, k, from + t * num_experts, num_experts, normalise);
    }
  });
}

}  // namespace tandem
