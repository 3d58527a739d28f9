#pragma once
// Who holds what: the split of a model over any number of ranks, uneven and empty shares included.

#include <cstdint>
#include <span>
#include <vector>

#include "comm/group.h"  // kMaxWorldSize

namespace tandem {

/// Half open. Empty when begin == end.
struct ShardRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const ShardRange&) const = default;
};

inline constexpr std::int64_t kVocabUnit = 64;  // rows of embedding and output that stay together

/// The extents that are split. Zero where a model has none (no dense MLP, no experts).
struct ShardDims {
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t intermediate_unit = 1;  // channels that stay together: the block of the weight format
  std::int64_t moe_intermediate_size = 0;
  std::int64_t moe_intermediate_unit = 1;
  std::int64_t vocab_size = 0;
};

/// One rank's ranges, in heads, channels and rows of the whole model.
struct RankShard {
  ShardRange query_heads;
  ShardRange kv_heads;  ///< those its query heads read; held by several ranks when ranks outnumber KV heads
  ShardRange intermediate;
  ShardRange moe_intermediate;
  ShardRange vocab;
};

/// Splits `total` into one contiguous range a rank, in multiples of `unit` (the last multiple may be short), as close
/// to `shares` (any positive scale; one a rank) as whole units allow.
std::vector<ShardRange> split_range(std::int64_t total, std::int64_t unit, std::span<const double> shares);

/// Attention is split by KV head, or by query head when ranks outnumber the KV heads. Throws kInvalidArgument for a
/// world size outside 1 to 16. `shares` as in split_range; its size is the world size.
std::vector<RankShard> make_shard_plan(const ShardDims& dims, std::span<const double> shares);

}  // namespace tandem
