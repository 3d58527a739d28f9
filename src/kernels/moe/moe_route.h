#pragma once
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// The experts of each token and their weights: the k largest of softmax(logits[t, :]), largest first, equal ones by
/// lower expert. Where a logit of a token is NaN or +Inf, all its weights are NaN.
///   expert_ids  [num_tokens, k]            i32, always valid experts, also where logits are NaN
///   weights     [num_tokens, k]            f32
///   logits      [num_tokens, num_experts]  f32, k <= num_experts; on a GPU at most 6000 experts
///   normalise   whether the k weights are divided by their sum (which equals a softmax over the k logits)
/// A token's result does not depend on the other tokens or on the threads.
void moe_route(const Stream& stream, Tensor expert_ids, Tensor weights, ConstTensor logits, bool normalise);

}  // namespace tandem
