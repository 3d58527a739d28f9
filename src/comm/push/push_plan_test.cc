// What every plan must keep, whatever is measured and changed: what it needs fits into the inboxes, and runs at once.
#include "comm/push/push_plan.h"

#include <gtest/gtest.h>

#include <array>
#include <utility>
#include <vector>

#include "base/error.h"

namespace tandem {
namespace {

std::int64_t packs_of(std::int64_t bytes) {
  return (bytes + kPackBytes - 1) / kPackBytes;
}

// Chosen, the least, and what a user may name.
std::vector<std::int64_t> inbox_sizes(int world_size) {
  return {0, least_inbox_bytes(world_size), std::int64_t{1} << 20, std::int64_t{16} << 20, std::int64_t{1} << 30};
}

constexpr TunedAlgorithm kAlgorithms[] = {TunedAlgorithm::kBuiltIn,         TunedAlgorithm::kOneShotTagged,
                                          TunedAlgorithm::kOneShotSentinel, TunedAlgorithm::kTwoShotSentinel,
                                          TunedAlgorithm::kRingTagged,      TunedAlgorithm::kRingBulk};
constexpr Collective kOps[] = {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter,
                               Collective::kBroadcast, Collective::kGather,    Collective::kSend};

// Rows that may fit or not, others from call to call: in a few hundred calls each algorithm with each number of blocks.
std::vector<TunedCalls> some_tuning(std::int64_t bytes) {
  static int next = 0;
  std::vector<TunedCalls> rows;
  for (const Collective op : kOps) {
    ++next;
    rows.push_back({.backend = "p2p",
                    .op = op,
                    .up_to_bytes = bytes,
                    .algorithm = kAlgorithms[next % 6],
                    .blocks = std::array{0, 1, 5, 64, 132, 1000, -1}[static_cast<std::size_t>(next / 6 % 7)]});
  }
  return rows;
}

template <class Body>
void for_each_call(const Body& body) {
  for (const InboxPlace place : {InboxPlace::kPeerMemory, InboxPlace::kHostMemory}) {
    for (int world_size = 2; world_size <= kMaxWorldSize; ++world_size) {
      for (const std::int64_t inbox_bytes : inbox_sizes(world_size)) {
        for (const int max_blocks : {1, 7, 132}) {  // ranks that share a GPU have few
          PushLimits limits{world_size, max_blocks, plan_rooms(world_size, place, inbox_bytes)};
          for (std::int64_t bytes = 1; bytes <= std::int64_t{1} << 30; bytes = bytes * 5 / 3 + 1) {
            limits.tuned.clear();
            body(limits, bytes);
            limits.tuned = some_tuning(bytes);
            body(limits, bytes);
          }
        }
      }
    }
  }
}

void expect_grid(const PushLimits& limits, int blocks, int threads) {
  EXPECT_GE(blocks, 1);
  EXPECT_LE(blocks, limits.max_blocks);
  EXPECT_EQ(threads % 32, 0);
  EXPECT_GE(threads, 32);
  EXPECT_LE(threads, 512) << "kernels are built for no more";
}

TEST(PushPlan, AllReducesFitIntoTheirInboxes) {
  for_each_call([](const PushLimits& limits, std::int64_t bytes) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI32}) {
      SCOPED_TRACE(
          format("{} bytes of {}, {} ranks, {} blocks", bytes, to_string(dtype), limits.world_size, limits.max_blocks));
      const AllReducePlan plan = plan_all_reduce(limits, dtype, bytes);
      expect_grid(limits, plan.blocks, plan.threads);
      const std::int64_t packs = packs_of(bytes);
      switch (plan.algorithm) {
        case AllReduceAlgorithm::kOneShotTagged:
          EXPECT_LE(packs, limits.rooms.one_shot_tagged);
          break;
        case AllReduceAlgorithm::kOneShotSentinel:
          EXPECT_NE(dtype, DType::kI32) << "sentinel packets change bits";
          EXPECT_LE(packs, limits.rooms.one_shot_sentinel);
          break;
        case AllReduceAlgorithm::kTwoShotSentinel:
          EXPECT_NE(dtype, DType::kI32) << "sentinel packets change bits";
          EXPECT_GE(packs, limits.world_size) << "each rank owns a share";
          EXPECT_LE((packs + limits.world_size - 1) / limits.world_size, limits.rooms.two_shot_sentinel);
          break;
        case AllReduceAlgorithm::kRingBulk:
          EXPECT_LE(plan.blocks, limits.rooms.ring_blocks);
          EXPECT_GE(packs, limits.world_size) << "each rank owns a share";
      }
    }
  });
}

TEST(PushPlan, MessagesFitIntoTheirInboxes) {
  for_each_call([](const PushLimits& limits, std::int64_t bytes) {
    SCOPED_TRACE(format("{} bytes, {} ranks, {} blocks", bytes, limits.world_size, limits.max_blocks));
    for (const Collective op : kOps) {
      if (op == Collective::kAllReduce) continue;
      const bool message = op == Collective::kSend;
      const MovePlan plan = message ? plan_message(limits, bytes) : plan_move(limits, op, bytes);
      expect_grid(limits, plan.blocks, plan.threads);
      if (plan.algorithm == MoveAlgorithm::kOneShotTagged) {
        EXPECT_LE(packs_of(bytes), limits.rooms.one_shot_tagged);
        EXPECT_FALSE(message) << "not all ranks take part";
      } else {
        EXPECT_LE(plan.blocks, limits.rooms.ring_blocks);
        EXPECT_TRUE(message || plan.algorithm == MoveAlgorithm::kRingBulk) << "there is no such kernel";
      }
    }
  });
}

TEST(PushPlan, RowsFitIntoTheirInboxes) {
  for_each_call([](const PushLimits& limits, std::int64_t bytes) {
    for (const std::int64_t rows : {1, 3, 64}) {
      const std::int64_t row_packs = packs_of(bytes);
      EXPECT_TRUE(!plan_rows(limits, rows, row_packs) || rows * row_packs <= limits.rooms.one_shot_sentinel);
    }
  });
}

PushLimits two_gpus(std::vector<TunedCalls> tuned) {
  return {2, 132, plan_rooms(2, InboxPlace::kPeerMemory), std::move(tuned)};
}

TEST(PushPlan, ATunedRowReplacesTheBuiltInPlanUpToItsBound) {
  const PushLimits limits = two_gpus({{.backend = "p2p",
                                       .op = Collective::kAllReduce,
                                       .up_to_bytes = 64 << 10,
                                       .algorithm = TunedAlgorithm::kTwoShotSentinel,
                                       .blocks = 3},
                                      {.backend = "p2p",
                                       .op = Collective::kAllReduce,
                                       .up_to_bytes = 128 << 10,
                                       .algorithm = TunedAlgorithm::kBuiltIn},
                                      {.backend = "p2p",
                                       .op = Collective::kAllReduce,
                                       .up_to_bytes = TunedCalls::kNoBound,
                                       .algorithm = TunedAlgorithm::kRingBulk,
                                       .blocks = 16},
                                      {.backend = "p2p",
                                       .op = Collective::kBroadcast,
                                       .up_to_bytes = TunedCalls::kNoBound,
                                       .algorithm = TunedAlgorithm::kOneShotTagged,
                                       .blocks = 2}});
  const auto planned = [&](Collective op, DType dtype, std::int64_t bytes) {
    const TunedCalls call = planned_call(limits, op, dtype, bytes);
    return std::pair(call.algorithm, call.blocks);
  };
  using enum TunedAlgorithm;
  EXPECT_EQ(planned(Collective::kAllReduce, DType::kBF16, 64), std::pair(kTwoShotSentinel, 3));
  EXPECT_EQ(planned(Collective::kAllReduce, DType::kBF16, 64 << 10), std::pair(kTwoShotSentinel, 3));
  EXPECT_EQ(planned(Collective::kAllReduce, DType::kBF16, (64 << 10) + 2).first, kOneShotSentinel) << "as built in";
  EXPECT_EQ(planned(Collective::kAllReduce, DType::kBF16, 1 << 30), std::pair(kRingBulk, 16));
  // Does not fit: one pack for two ranks, integers, more than the packets have room for.
  EXPECT_EQ(planned(Collective::kAllReduce, DType::kBF16, 8).first, kOneShotTagged);
  EXPECT_EQ(planned(Collective::kAllReduce, DType::kI32, 64 << 10).first, kOneShotTagged);
  EXPECT_EQ(planned(Collective::kBroadcast, DType::kBF16, 64 << 10), std::pair(kOneShotTagged, 2));
  EXPECT_EQ(planned(Collective::kBroadcast, DType::kBF16, 64 << 20).first, kRingBulk);
  // Other operations have no row.
  EXPECT_EQ(planned(Collective::kAllGather, DType::kBF16, 1 << 20).first, kRingBulk);
}

TEST(PushPlan, TunedRowsWithMoreBlocksThanRunAtOnceArePassedOver) {
  TunedCalls row{.backend = "p2p",
                 .op = Collective::kAllReduce,
                 .up_to_bytes = TunedCalls::kNoBound,
                 .algorithm = TunedAlgorithm::kRingBulk,
                 .blocks = 128};
  EXPECT_EQ(plan_all_reduce(two_gpus({row}), DType::kBF16, 4096).blocks, 128);
  row.blocks = 129;  // rings
  EXPECT_NE(plan_all_reduce(two_gpus({row}), DType::kBF16, 4096).algorithm, AllReduceAlgorithm::kRingBulk);
  row.algorithm = TunedAlgorithm::kOneShotSentinel;
  EXPECT_EQ(plan_all_reduce(two_gpus({row}), DType::kBF16, 4096).blocks, 129);
  row.blocks = 133;  // SMs
  EXPECT_EQ(plan_all_reduce(two_gpus({row}), DType::kBF16, 4096).algorithm, AllReduceAlgorithm::kOneShotTagged);
}

// The kernels' lanes each have a pack where there are enough blocks.
TEST(PushPlan, TunedBlocksHaveAsManyThreadsAsTheirPacksNeed) {
  const auto threads = [](int blocks, std::int64_t bytes) {
    return plan_all_reduce(two_gpus({{.backend = "p2p",
                                      .op = Collective::kAllReduce,
                                      .up_to_bytes = TunedCalls::kNoBound,
                                      .algorithm = TunedAlgorithm::kOneShotSentinel,
                                      .blocks = blocks}}),
                           DType::kBF16, bytes)
        .threads;
  };
  EXPECT_EQ(threads(8, 16 << 10), 128);
  EXPECT_EQ(threads(32, 16 << 10), 64);
  EXPECT_EQ(threads(4, 16 << 10), 256);
  EXPECT_EQ(threads(1, 16 << 10), 512);
}

TEST(Tuning, RowsAreOfOneBackEndAndInOrder) {
  const Tuning tuning{.calls = {{.backend = "p2p", .up_to_bytes = 30},
                                {.backend = "native", .up_to_bytes = 20},
                                {.backend = "p2p", .up_to_bytes = 10}},
                      .inboxes = {{.backend = "native", .bytes = 7}}};
  const std::vector<TunedCalls> rows = tuning.calls_of("p2p");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].up_to_bytes, 10);
  EXPECT_EQ(rows[1].up_to_bytes, 30);
  EXPECT_EQ(tuning.inbox_of("native"), 7);
  EXPECT_EQ(tuning.inbox_of("p2p"), 0);
}

TEST(PushPlan, AnInboxIsAsLargeAsItsUserSays) {
  for (const InboxPlace place : {InboxPlace::kPeerMemory, InboxPlace::kHostMemory}) {
    for (int world_size = 1; world_size <= kMaxWorldSize; ++world_size) {
      const Rooms chosen = plan_rooms(world_size, place);
      for (std::int64_t bytes = least_inbox_bytes(world_size); bytes <= std::int64_t{4} << 30;
           bytes = bytes * 9 / 8 + 5) {
        SCOPED_TRACE(format("{} ranks, {} bytes", world_size, bytes));
        const Rooms rooms = plan_rooms(world_size, place, bytes);
        const InboxLayout layout(world_size, rooms);
        EXPECT_LE(layout.bytes(), bytes);
        EXPECT_GT(layout.bytes(), bytes - layout.ring_bulk.num_slots * kPackBytes) << "a larger chunk would fit";
        EXPECT_GE(rooms.ring_bulk, 64);
        for (const auto room :
             {&Rooms::one_shot_tagged, &Rooms::one_shot_sentinel, &Rooms::two_shot_sentinel, &Rooms::ring_tagged}) {
          EXPECT_GE(rooms.*room, 1);
          EXPECT_LE(rooms.*room, chosen.*room) << "what is left goes to the rings";
        }
        const bool smaller_packets = rooms.two_shot_sentinel < chosen.two_shot_sentinel;
        EXPECT_TRUE(!smaller_packets || rooms.ring_blocks <= 16) << "rings give first";
      }
    }
  }
}

TEST(PushPlan, AMegabyteIsEnoughForAnyWorld) {
  for (int world_size = 1; world_size <= kMaxWorldSize; ++world_size) {
    EXPECT_LE(least_inbox_bytes(world_size), 1 << 20) << world_size;
    EXPECT_GE(least_inbox_bytes(world_size), 32 << 10) << world_size;
  }
}

TEST(PushPlan, AnInboxThatIsTooSmallIsRefusedWithTheLeast) {
  const std::int64_t least = least_inbox_bytes(5);
  EXPECT_NO_THROW(plan_rooms(5, InboxPlace::kPeerMemory, least));
  try {
    plan_rooms(5, InboxPlace::kPeerMemory, least - 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    EXPECT_EQ(error.what(), format("the inbox is {} bytes, and 5 ranks need {} at least", least - 1, least));
    EXPECT_EQ(error.hint(), format("use {}K or more, or leave it out", (least + 1023) / 1024));
  }
  EXPECT_THROW(plan_rooms(2, InboxPlace::kHostMemory, -1), Error);
}

TEST(PushPlan, InboxesLargerThanWhatIsFreeAreRefused) {
  const std::int64_t gigabyte = 1 << 30;
  EXPECT_NO_THROW(check_memory_for_inboxes("cuda:1", 2, gigabyte, 2 << 30));
  try {
    check_memory_for_inboxes("cuda:1", 2, gigabyte, (2ull << 30) - 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
    EXPECT_EQ(std::string(error.what()),
              "cuda:1: 2 inboxes of 1073741824 bytes wanted for messages of other ranks, 2147483647 bytes are free");
    EXPECT_NE(error.hint(), "");
  }
}

// Users of 24 GB cards look at this.
TEST(PushPlan, AnInboxIsSmallBesideAModel) {
  for (int world_size = 2; world_size <= kMaxWorldSize; ++world_size) {
    const InboxLayout peer(world_size, plan_rooms(world_size, InboxPlace::kPeerMemory));
    const InboxLayout host(world_size, plan_rooms(world_size, InboxPlace::kHostMemory));
    EXPECT_LE(peer.bytes(), std::int64_t{192} << 20) << world_size;
    EXPECT_LE(host.bytes(), std::int64_t{96} << 20) << world_size;
    EXPECT_GE(peer.ring_bulk.slot_packets, 1) << world_size;
    EXPECT_GE(host.ring_bulk.slot_packets, 1) << world_size;
  }
}

}  // namespace
}  // namespace tandem
