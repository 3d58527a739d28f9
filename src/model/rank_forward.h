#pragma once
// The forward pass of one rank.

#include <cstdint>
#include <functional>

#include "cache/kv_cache.h"
#include "comm/rank_team.h"
#include "device/buffer.h"
#include "model/config.h"
#include "model/rank_weights.h"
#include "model/rope.h"
#include "model/step_inputs.h"

namespace tandem {

/// The most that a rank computes at once, which its activations have room for.
struct StepLimits {
  std::int64_t tokens = 0;
  std::int64_t logits = 0;  ///< rows
};

/// Owns the rank's weights and activations. Belongs to the rank's thread.
class RankForward {
 public:
  /// `activations`: see activation_dtype().
  RankForward(const ModelConfig& config, const RankShard& shard, RankWeights weights, const RopeFrequencies& rope,
              const Stream& stream, DType activations, StepLimits limits);

  /// Queues a step. Of the logits, `on_logits` gets this rank's columns, f32 [rows, vocab share], as many rows at a
  /// time as limits.logits, from row `first_row` of logits_tokens on, valid in the stream's order until it returns.
  void forward(RankContext& rank, KvCache& cache, const StepTensors& batch,
               const std::function<void(std::int64_t first_row, const Tensor& logits)>& on_logits);

 private:
  std::size_t lay_out(const Buffer* workspace, DType activations, StepLimits limits, std::int64_t attended_cols);
  void attention(RankContext& rank, KvCache& cache, const StepTensors& batch, int layer, ConstTensor input);
  void mlp(RankContext& rank, const SlotWeights& weights, ConstTensor input);
  void experts(RankContext& rank, const SlotWeights& weights, ConstTensor input);
  /// branch_ <- sum over ranks of branch_, normed where the architecture does; residual_ += branch_; and
  /// normed_ <- the norm of residual_ with the weights `next` of slot `next_norm`.
  void add_branch(RankContext& rank, const SlotWeights& weights, Slot post_norm, const SlotWeights& next,
                  Slot next_norm, std::int64_t num_tokens);

  const ModelConfig& config_;
  RankShard shard_;
  RankWeights weights_;
  StepLimits limits_;
  OwnedTensor inv_freq_;
  float attention_scaling_;
  Buffer workspace_;
  // Activations at their largest; a step uses the first rows.
  Tensor residual_, normed_, branch_, q_, k_, v_, attended_, gate_, up_;
  Tensor router_logits_, expert_ids_, expert_weights_, expert_out_;
  Tensor logits_;
  Tensor scratch_, attention_scratch_;
};

}  // namespace tandem
