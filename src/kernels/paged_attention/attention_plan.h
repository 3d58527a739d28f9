#pragma once
// How paged_attention is cut on GPUs, for host and device: sizes depend on shapes alone, and what a (query, head) goes
// through depends on its own context alone.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/host_device.h"

namespace tandem {

// Decode: a unit is one query with up to 8 of the query heads that share a kv head, the columns of a tensor core's
// product. Its visible keys are cut in splits, each split's result kept apart and all joined in order.
constexpr int kHeadsOfUnit = 8;
constexpr int kDecodeWarps = 8;
constexpr int kDecodeTileKeys = 16;  // a warp's step
constexpr int kMinSplitKeys = 64;    // below, joining costs more than another step
constexpr int kMaxSplits = 64;       // above, joining takes longer than the splits
constexpr int kSplitBlocks = 256;    // of one query: two a multiprocessor of the largest GPUs
constexpr int kDecodeBlocks = 1024;  // of a launch; with more units than that, a block takes all splits of its unit
constexpr int kDecodeCounters = kDecodeBlocks / 2;  // units whose splits are shared among blocks, at most

TANDEM_HD std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// Query heads of the rank that read kv head `kv_head` of the pages.
struct HeadRange {
  std::int64_t begin;
  int count;
};
TANDEM_HD HeadRange heads_of_kv(std::int64_t kv_head, std::int64_t q_heads, std::int64_t group_size,
                                std::int64_t first_query_head, std::int64_t first_kv_head) {
  const std::int64_t group = (first_kv_head + kv_head) * group_size - first_query_head;
  const std::int64_t begin = group > 0 ? group : 0;
  const std::int64_t end = group + group_size < q_heads ? group + group_size : q_heads;
  return {begin, end > begin ? static_cast<int>(end - begin) : 0};
}

/// Query heads here that share a kv head, at most.
TANDEM_HD std::int64_t max_heads_of_kv(std::int64_t q_heads, std::int64_t group_size) {
  return q_heads < group_size ? q_heads : group_size;
}
TANDEM_HD unsigned chunks_of_kv(std::int64_t q_heads, std::int64_t group_size) {
  return static_cast<unsigned>(max_heads_of_kv(q_heads, group_size) + kHeadsOfUnit - 1) / kHeadsOfUnit;
}
TANDEM_HD std::int64_t units_of_query(std::int64_t q_heads, std::int64_t kv_heads, std::int64_t group_size) {
  return kv_heads * chunks_of_kv(q_heads, group_size);
}
TANDEM_HD int max_splits(unsigned units_of_query) {
  const unsigned splits = kSplitBlocks / units_of_query;
  return static_cast<int>(splits < 1 ? 1 : splits > kMaxSplits ? kMaxSplits : splits);
}
/// Blocks that share the splits of a unit, at most.
TANDEM_HD int blocks_of_unit(std::int64_t units, int max_splits) {
  const std::int64_t blocks = kDecodeBlocks / units;
  return static_cast<int>(blocks < 1 ? 1 : blocks > max_splits ? max_splits : blocks);
}

/// `num_keys` above 0 in `count` runs of `keys`, the last one shorter; none is empty.
struct Splits {
  int keys;
  int count;
};
TANDEM_HD Splits split_keys(int num_keys, int max_splits) {
  const unsigned num = static_cast<unsigned>(num_keys), splits = static_cast<unsigned>(max_splits);
  const unsigned share = ((num + splits - 1) / splits + kDecodeTileKeys - 1) / kDecodeTileKeys * kDecodeTileKeys;
  const unsigned keys = share < kMinSplitKeys ? kMinSplitKeys : share;
  return {static_cast<int>(keys), static_cast<int>((num + keys - 1) / keys)};
}

/// The first key that the query at `position` sees.
TANDEM_HD int first_visible_key(int position, int sliding_window) {
  return sliding_window > 0 && position >= sliding_window ? position - sliding_window + 1 : 0;
}

/// Whether a launch goes the way of decode steps: few queries a sequence, or few at all.
TANDEM_HD bool is_decode(std::int64_t num_queries, std::int64_t num_sequences) {
  return num_queries <= 16 || num_queries <= 4 * num_sequences;
}

/// Scratch: a counter for each unit whose splits are shared, then weighted values of the partial results
/// [queries, q_heads, splits, head_dim] f32, then their (maximum, sum) [queries, q_heads, splits, 2] f32.
constexpr std::size_t kCounterBytes = kDecodeCounters * sizeof(std::uint32_t);
inline std::size_t attention_scratch_bytes(std::int64_t num_queries, std::int64_t q_heads, std::int64_t kv_heads,
                                           std::int64_t head_dim, std::int64_t group_size) {
  const std::int64_t units = units_of_query(q_heads, kv_heads, group_size);
  if (units == 0) return kCounterBytes;
  const std::int64_t queries = std::min(num_queries, kDecodeCounters / units);
  return kCounterBytes +
         static_cast<std::size_t>(queries * q_heads * max_splits(static_cast<unsigned>(units)) * (head_dim + 2)) *
             sizeof(float);
}

}  // namespace tandem
