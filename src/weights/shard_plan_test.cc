#include "weights/shard_plan.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace tandem {
namespace {

std::vector<double> even(int world_size) {
  return std::vector<double>(static_cast<std::size_t>(world_size), 1.0);
}

TEST(ShardPlan, CoversEverythingOnceAtEveryWorldSize) {
  const ShardDims dims{.num_attention_heads = 9,
                       .num_key_value_heads = 3,
                       .intermediate_size = 1536,
                       .intermediate_unit = 32,
                       .moe_intermediate_size = 96,
                       .moe_intermediate_unit = 16,
                       .vocab_size = 49152};
  for (int world_size = 1; world_size <= kMaxWorldSize; ++world_size) {
    const auto plan = make_shard_plan(dims, even(world_size));
    ASSERT_EQ(plan.size(), static_cast<std::size_t>(world_size));
    RankShard before;
    for (const RankShard& shard : plan) {
      EXPECT_EQ(shard.query_heads.begin, before.query_heads.end);
      EXPECT_EQ(shard.intermediate.begin, before.intermediate.end);
      EXPECT_EQ(shard.moe_intermediate.begin, before.moe_intermediate.end);
      EXPECT_EQ(shard.vocab.begin, before.vocab.end);
      EXPECT_EQ(shard.intermediate.begin % 32, 0);
      EXPECT_EQ(shard.vocab.begin % kVocabUnit, 0);
      for (std::int64_t head = shard.query_heads.begin; head < shard.query_heads.end; ++head) {
        EXPECT_GE(head / 3, shard.kv_heads.begin);
        EXPECT_LT(head / 3, shard.kv_heads.end);
      }
      before = shard;
    }
    EXPECT_EQ(before.query_heads.end, 9);
    EXPECT_EQ(before.intermediate.end, 1536);
    EXPECT_EQ(before.moe_intermediate.end, 96);
    EXPECT_EQ(before.vocab.end, 49152);
  }
}

TEST(ShardPlan, SplitsByKvHeadUntilRanksOutnumberThem) {
  const ShardDims dims{.num_attention_heads = 9, .num_key_value_heads = 3, .vocab_size = 64};
  const auto two = make_shard_plan(dims, even(2));
  EXPECT_EQ(two[0].query_heads, (ShardRange{0, 6}));
  EXPECT_EQ(two[1].kv_heads, (ShardRange{2, 3}));
  const auto four = make_shard_plan(dims, even(4));
  EXPECT_EQ(four[0].query_heads.size() + four[1].query_heads.size(), 5);
  EXPECT_EQ(four[2].kv_heads, (ShardRange{1, 3}));  // heads 5 and 6 read KV heads 1 and 2
}

TEST(ShardPlan, GivesEmptySharesWhereThereIsTooLittle) {
  const ShardDims dims{.num_attention_heads = 2,
                       .num_key_value_heads = 1,
                       .intermediate_size = 64,
                       .intermediate_unit = 32,
                       .vocab_size = 100};
  const auto plan = make_shard_plan(dims, even(16));
  std::int64_t holders = 0;
  for (const RankShard& shard : plan) holders += shard.query_heads.size() > 0;
  EXPECT_EQ(holders, 2);
  EXPECT_EQ(plan[15].vocab.end, 100);
}

TEST(ShardPlan, FollowsUnequalShares) {
  const auto ranges = split_range(100, 1, std::vector<double>{3, 1});
  EXPECT_EQ(ranges[0], (ShardRange{0, 75}));
  EXPECT_EQ(ranges[1], (ShardRange{75, 100}));
}

TEST(ShardPlan, RefusesSeventeenRanks) {
  const ShardDims dims{.num_attention_heads = 9, .num_key_value_heads = 3};
  try {
    make_shard_plan(dims, even(17));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
  }
}

}  // namespace
}  // namespace tandem
