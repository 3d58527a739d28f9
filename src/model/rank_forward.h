#pragma once
// The forward pass of one rank.

#include <cstdint>
#include <vector>

#include "cache/kv_cache.h"
#include "comm/rank_team.h"
#include "device/buffer.h"
#include "kernels/paged_attention/paged_attention.h"
#include "model/config.h"
#include "model/rank_weights.h"
#include "model/rope.h"

namespace tandem {

/// A step's batch as tensors, the same on all ranks; on the host, made by the scheduling thread.
struct StepBatch {
  std::vector<std::int32_t> token_ids;      ///< [num_tokens], sequence after sequence
  std::vector<std::int32_t> positions;      ///< [num_tokens]
  std::vector<std::int32_t> slots;          ///< [num_tokens] page * page_size + place: where keys and values go
  std::vector<std::int32_t> query_begin;    ///< [num_sequences + 1]
  std::vector<std::int32_t> context_len;    ///< [num_sequences], with the new tokens
  std::vector<std::int32_t> page_table;     ///< [num_sequences, max_pages]
  std::vector<std::int32_t> logits_tokens;  ///< rows of token_ids whose logits are wanted
  std::int64_t num_tokens() const { return static_cast<std::int64_t>(token_ids.size()); }
  std::int64_t num_sequences() const { return static_cast<std::int64_t>(context_len.size()); }
};

/// Owns the rank's weights and activations. Belongs to the rank's thread. Activations are f32.
class RankForward {
 public:
  RankForward(const ModelConfig& config, const RankShard& shard, RankWeights weights, const RopeFrequencies& rope,
              Device device, std::int64_t max_step_tokens);

  /// Returns this rank's columns of the logits, f32 [logits_tokens, vocab share], valid until the next call.
  Tensor forward(RankContext& rank, KvCache& cache, const StepBatch& batch);

 private:
  void attention(RankContext& rank, KvCache& cache, const StepBatch& batch, int layer, ConstTensor input);
  void mlp(RankContext& rank, const SlotWeights& weights, ConstTensor input);
  void experts(RankContext& rank, const SlotWeights& weights, ConstTensor input);
  /// branch_ <- sum over ranks of branch_, normed where the architecture does; residual_ += branch_.
  void add_branch(RankContext& rank, const SlotWeights& weights, Slot post_norm, std::int64_t num_tokens);

  const ModelConfig& config_;
  RankShard shard_;
  RankWeights weights_;
  OwnedTensor inv_freq_;
  float attention_scaling_;
  Buffer workspace_;
  // Activations at their largest; a step uses the first rows.
  Tensor residual_, normed_, branch_, q_, k_, v_, attended_, gate_, up_;
  Tensor router_logits_, expert_ids_, expert_weights_, expert_out_;
  Tensor logits_;
};

}  // namespace tandem
