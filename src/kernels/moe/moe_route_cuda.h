#pragma once
// moe_route on GPUs. Arguments are checked by the caller.

#include <cstdint>

namespace tandem {

/// What a block's shared memory holds beside their weights.
inline constexpr std::int64_t kMaxRoutedExperts = 6000;

/// Returns a cudaError_t.
int moe_route_cuda(void* stream, std::int32_t* expert_ids, float* weights, const float* logits, std::int64_t num_tokens,
                   std::int64_t num_experts, std::int64_t k, bool normalise);

}  // namespace tandem
