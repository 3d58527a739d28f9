#include "comm/push/push_plan.h"

#include <algorithm>

namespace tandem {
namespace {

// Measured on two H200s (bench/results): up to 1 MB in one shot, up to 4 MB in two, above in rings with many blocks and
// chunks as large as memory allows, since each chunk costs a fence. Among many ranks the same bytes make smaller
// chunks.
constexpr std::int64_t kRingBytes = std::int64_t{128} << 20;
// Through host memory 64 MB take 1.95 ms with these and 2.3 ms with those: PCIe needs few blocks, and caches of the
// host are small.
constexpr std::int64_t kHostRingBytes = std::int64_t{16} << 20;
constexpr int kHostRingBlocks = 64;
// Packs.
constexpr std::int64_t kOneShotRoom = 64 * 1024, kTaggedRoom = 32 * 1024, kTwoShotRoom = 256 * 1024;

constexpr int kThreads = 512;                           // of a block that moves a stripe
constexpr int kPacketThreads = 256;                     // of one whose lanes move a pack each: fewer start sooner
constexpr std::int64_t kTaggedBytes = 8 * 1024;         // above, sentinel packets cost less than tags
constexpr std::int64_t kTaggedRingBytes = 1024 * 1024;  // above, a fence a chunk costs less than tags

// One shot sends world_size / 2 times the bytes of two, and saves a hop. Packs, times ranks beyond two.
constexpr std::int64_t kOneShotPacks = 32 * 1024;

std::int64_t in_packs(std::int64_t bytes) {
  return (bytes + kPackBytes - 1) / kPackBytes;
}

struct Grid {
  int blocks, threads;
};

Grid lane_a_pack(const PushLimits& limits, std::int64_t packs) {
  const bool fits = packs <= std::int64_t{kPacketThreads} * limits.max_blocks;
  const auto threads =
      static_cast<int>(std::clamp<std::int64_t>((packs + 31) / 32 * 32, 64, fits ? kPacketThreads : kThreads));
  return {static_cast<int>(std::clamp<std::int64_t>((packs + threads - 1) / threads, 1, limits.max_blocks)), threads};
}

Grid block_a_stripe(const PushLimits& limits, std::int64_t packs) {
  const int most = std::min(limits.rooms.ring_blocks, limits.max_blocks);
  return {static_cast<int>(std::clamp<std::int64_t>((packs + kThreads - 1) / kThreads, 1, most)), kThreads};
}

}  // namespace

Rooms plan_rooms(int world_size, InboxPlace place) {
  const bool peers = place == InboxPlace::kPeerMemory;
  Rooms rooms;
  rooms.one_shot_tagged = kTaggedRoom / std::max(1, world_size - 1);
  rooms.one_shot_sentinel = kOneShotRoom / std::max(1, world_size - 1);
  rooms.two_shot_sentinel = kTwoShotRoom / world_size;
  rooms.ring_tagged = 512;
  rooms.ring_blocks = world_size > 4 ? 32 : peers ? 128 : kHostRingBlocks;
  rooms.ring_bulk = (peers ? kRingBytes : kHostRingBytes) / (kPackBytes * kRingSlots * world_size * rooms.ring_blocks);
  return rooms;
}

AllReducePlan plan_all_reduce(const PushLimits& limits, DType dtype, std::int64_t bytes) {
  const std::int64_t packs = in_packs(bytes);
  const auto plan = [](AllReduceAlgorithm algorithm, Grid grid) {
    return AllReducePlan{algorithm, grid.blocks, grid.threads};
  };
  const Grid grid = lane_a_pack(limits, packs);
  if (packs <= limits.rooms.one_shot_tagged && (bytes <= kTaggedBytes || !is_float(dtype))) {
    return plan(AllReduceAlgorithm::kOneShotTagged, grid);
  }
  if (is_float(dtype)) {
    const bool one_shot = limits.world_size == 2 || packs * (limits.world_size - 2) <= kOneShotPacks;
    if (one_shot && packs <= limits.rooms.one_shot_sentinel) {
      return plan(AllReduceAlgorithm::kOneShotSentinel, grid);
    }
    if (packs >= limits.world_size && packs <= limits.rooms.two_shot_sentinel * limits.world_size) {
      return plan(AllReduceAlgorithm::kTwoShotSentinel, {grid.blocks, kThreads});
    }
  }
  return plan(AllReduceAlgorithm::kRingBulk, block_a_stripe(limits, packs / limits.world_size / 4));
}

bool plan_rows(const PushLimits& limits, std::int64_t rows, std::int64_t row_packs) {
  const std::int64_t packs = rows * row_packs;
  const bool one_shot = limits.world_size == 2 || packs * (limits.world_size - 2) <= kOneShotPacks;
  return one_shot && packs <= limits.rooms.one_shot_sentinel;
}

MovePlan plan_move(const PushLimits& limits, std::int64_t bytes) {
  const std::int64_t packs = in_packs(bytes);
  const bool one_shot = packs <= limits.rooms.one_shot_tagged;
  const Grid grid = one_shot ? lane_a_pack(limits, packs) : block_a_stripe(limits, packs / 4);
  return {one_shot ? MoveAlgorithm::kOneShotTagged : MoveAlgorithm::kRingBulk, grid.blocks, grid.threads};
}

MovePlan plan_message(const PushLimits& limits, std::int64_t bytes) {
  const bool tagged = bytes <= kTaggedRingBytes;
  const Grid grid = block_a_stripe(limits, in_packs(bytes) / (tagged ? 1 : 4));
  return {tagged ? MoveAlgorithm::kRingTagged : MoveAlgorithm::kRingBulk, grid.blocks, grid.threads};
}

}  // namespace tandem
