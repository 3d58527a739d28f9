#include "kernels/paged_attention/attention_plan.h"

#include <gtest/gtest.h>

namespace tandem {
namespace {

TEST(AttentionPlan, SplitsCoverTheKeysAndNoneIsEmpty) {
  for (const int bound : {1, 2, 7, 32, 64}) {
    for (const int keys : {1, 15, 16, 63, 64, 65, 512, 513, 2047, 2049, 32768, 131073, 1 << 30}) {
      const Splits splits = split_keys(keys, bound);
      EXPECT_LE(splits.count, bound) << keys;
      EXPECT_EQ(splits.keys % kDecodeTileKeys, 0) << keys;
      EXPECT_LT(std::int64_t{splits.keys} * (splits.count - 1), keys);
      EXPECT_GE(std::int64_t{splits.keys} * splits.count, keys);
    }
  }
}

TEST(AttentionPlan, EachQueryHeadBelongsToOneKvHead) {
  const std::int64_t group = 3, kv_heads = 4;
  for (std::int64_t first = 0; first < 12; ++first) {
    for (std::int64_t heads = 0; first + heads <= 12; ++heads) {
      const std::int64_t first_kv = first / group;
      std::int64_t next = 0;
      for (std::int64_t kv = 0; kv < kv_heads; ++kv) {
        const HeadRange range = heads_of_kv(kv, heads, group, first, first_kv);
        if (range.count == 0) continue;
        EXPECT_EQ(range.begin, next);
        EXPECT_LE(range.count, max_heads_of_kv(heads, group));
        EXPECT_EQ((first + range.begin) / group, first_kv + kv);
        EXPECT_EQ((first + range.begin + range.count - 1) / group, first_kv + kv);
        next += range.count;
      }
      EXPECT_EQ(next, heads);
    }
  }
}

TEST(AttentionPlan, ScratchHoldsEveryLaunchThatSharesSplits) {
  for (const std::int64_t kv_heads : {1, 2, 3, 8, 40}) {
    for (const std::int64_t group : {1, 7, 8, 9, 71}) {
      const std::int64_t q_heads = kv_heads * group, units = units_of_query(q_heads, kv_heads, group);
      const int splits = max_splits(static_cast<unsigned>(units));
      for (std::int64_t queries = 1; queries < 1100; ++queries) {
        if (blocks_of_unit(queries * units, splits) == 1) continue;
        EXPECT_LE(queries * units, kDecodeCounters);
        EXPECT_GE(attention_scratch_bytes(1100, q_heads, kv_heads, 64, group),
                  kCounterBytes + static_cast<std::size_t>(queries * q_heads * splits * 66) * sizeof(float));
        EXPECT_GE(attention_scratch_bytes(queries, q_heads, kv_heads, 64, group),
                  kCounterBytes + static_cast<std::size_t>(queries * q_heads * splits * 66) * sizeof(float));
      }
    }
  }
}

TEST(AttentionPlan, TheWindowEndsAtTheQuery) {
  EXPECT_EQ(first_visible_key(100, 0), 0);
  EXPECT_EQ(first_visible_key(100, 1), 100);
  EXPECT_EQ(first_visible_key(100, 101), 0);
  EXPECT_EQ(first_visible_key(100, 100), 1);
  EXPECT_EQ(first_visible_key(2, 2147483647), 0);
  EXPECT_EQ(first_visible_key(-3, 5), 0);
}

}  // namespace
}  // namespace tandem
