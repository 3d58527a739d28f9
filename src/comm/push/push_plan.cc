#include "comm/push/push_plan.h"

#include <algorithm>

namespace tandem {
namespace {

constexpr int kThreads = 512;
constexpr std::int64_t kTaggedBytes = 8 * 1024;         // above, sentinel packets cost less than tags
constexpr std::int64_t kTaggedRingBytes = 1024 * 1024;  // above, a fence a chunk costs less than tags

int in_blocks(std::int64_t packs, int most) {
  return static_cast<int>(std::clamp<std::int64_t>((packs + kThreads - 1) / kThreads, 1, most));
}

}  // namespace

AllReducePlan plan_all_reduce(const PushLimits& limits, DType dtype, std::int64_t bytes) {
  const std::int64_t packs = (bytes + kPackBytes - 1) / kPackBytes;
  const int threads = static_cast<int>(std::clamp<std::int64_t>((packs + 31) / 32 * 32, 64, kThreads));
  if (packs <= limits.rooms.one_shot_tagged && (bytes <= kTaggedBytes || !is_float(dtype))) {
    return {AllReduceAlgorithm::kOneShotTagged, in_blocks(packs, limits.max_blocks), threads};
  }
  if (is_float(dtype)) {
    // One shot sends world_size / 2 times the bytes of two, and saves a hop.
    const bool one_shot = limits.world_size == 2 || packs * (limits.world_size - 2) <= 32 * 1024;
    if (one_shot && packs <= limits.rooms.one_shot_sentinel) {
      return {AllReduceAlgorithm::kOneShotSentinel, in_blocks(packs, limits.max_blocks), threads};
    }
    if (packs >= limits.world_size && packs <= limits.rooms.two_shot_sentinel * limits.world_size) {
      return {AllReduceAlgorithm::kTwoShotSentinel, in_blocks(packs, limits.max_blocks), threads};
    }
  }
  return {AllReduceAlgorithm::kRingBulk,
          in_blocks(packs / limits.world_size / 4, std::min(limits.rooms.ring_blocks, limits.max_blocks)), kThreads};
}

RingPlan plan_ring(const PushLimits& limits, std::int64_t bytes) {
  const std::int64_t packs = (bytes + kPackBytes - 1) / kPackBytes;
  const int most = std::min(limits.rooms.ring_blocks, limits.max_blocks);
  if (bytes <= kTaggedRingBytes) {
    const int threads = static_cast<int>(std::clamp<std::int64_t>((packs + 31) / 32 * 32, 64, kThreads));
    return {false, in_blocks(packs, most), threads};
  }
  return {true, in_blocks(packs / 4, most), kThreads};
}

}  // namespace tandem
