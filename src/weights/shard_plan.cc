#include "weights/shard_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace tandem {

std::vector<ShardRange> split_range(std::int64_t total, std::int64_t unit, std::span<const double> shares) {
  TANDEM_CHECK(total >= 0 && unit >= 1 && !shares.empty(), "total {}, unit {}, {} ranks", total, unit, shares.size());
  const std::int64_t num_units = (total + unit - 1) / unit;
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<ShardRange> ranges;
  double passed = 0;
  std::int64_t begin = 0;
  for (const double share : shares) {
    TANDEM_CHECK(share > 0, "share {}", share);
    passed += share;
    // Rounding up gives the earlier ranks the larger shares; the small term keeps thirds from becoming 1.0000001 units.
    const auto units = static_cast<std::int64_t>(std::ceil(static_cast<double>(num_units) * (passed / sum) - 1e-9));
    const std::int64_t end = std::clamp(units * unit, begin, total);
    ranges.push_back({begin, end});
    begin = end;
  }
  ranges.back().end = total;
  return ranges;
}

std::vector<RankShard> make_shard_plan(const ShardDims& dims, std::span<const double> shares) {
  const auto world_size = static_cast<std::int64_t>(shares.size());
  if (world_size < 1 || world_size > kMaxWorldSize) {
    fail_with_hint(ErrorKind::kInvalidArgument, format("a model cannot be split over {} ranks", world_size),
                   format("use 1 to {} ranks (--tp)", kMaxWorldSize));
  }
  TANDEM_CHECK(dims.num_key_value_heads > 0 && dims.num_attention_heads % dims.num_key_value_heads == 0,
               "{} query heads, {} KV heads", dims.num_attention_heads, dims.num_key_value_heads);
  const std::int64_t group = dims.num_attention_heads / dims.num_key_value_heads;
  const std::int64_t head_unit = world_size <= dims.num_key_value_heads ? group : 1;
  const auto heads = split_range(dims.num_attention_heads, head_unit, shares);
  const auto intermediate = split_range(dims.intermediate_size, dims.intermediate_unit, shares);
  const auto moe_intermediate = split_range(dims.moe_intermediate_size, dims.moe_intermediate_unit, shares);
  const auto vocab = split_range(dims.vocab_size, kVocabUnit, shares);

  std::vector<RankShard> plan;
  for (std::size_t rank = 0; rank < shares.size(); ++rank) {
    const ShardRange query = heads[rank];
    const std::int64_t kv_begin = query.begin / group;
    const std::int64_t kv_end = query.size() == 0 ? kv_begin : (query.end - 1) / group + 1;
    plan.push_back({query, {kv_begin, kv_end}, intermediate[rank], moe_intermediate[rank], vocab[rank]});
  }
  return plan;
}

}  // namespace tandem
