#include "comm/push/push_plan.h"

#include <algorithm>

#include "base/error.h"

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
constexpr std::int64_t kTaggedChunk = 512;
// Of an inbox that a user wants small: the fence of a chunk of 8 KB takes longer than its bytes already, and 16 blocks
// still fill a link of PCIe.
constexpr std::int64_t kSmallChunk = 512;
constexpr int kFewRingBlocks = 16;

constexpr int kThreads = 512;                           // of a block that moves a stripe
constexpr int kPacketThreads = 256;                     // of one whose lanes move a pack each: fewer start sooner
constexpr std::int64_t kTaggedBytes = 8 * 1024;         // above, sentinel packets cost less than tags
constexpr std::int64_t kTaggedRingBytes = 1024 * 1024;  // above, a fence a chunk costs less than tags

// One shot sends world_size / 2 times the bytes of two, and saves a hop. Packs, times ranks beyond two.
constexpr std::int64_t kOneShotPacks = 32 * 1024;

std::int64_t in_packs(std::int64_t bytes) {
  return (bytes + kPackBytes - 1) / kPackBytes;
}

// Every algorithm works, none of them well. A pack for each of 16 ranks fits into every area, so that no plan has to
// look for shares that are empty.
Rooms least_rooms(int world_size) {
  return {.one_shot_tagged = 64,
          .one_shot_sentinel = 64,
          .two_shot_sentinel = std::max(1, 64 / world_size),
          .ring_tagged = 32,
          .ring_bulk = 64,
          .ring_blocks = 4};
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

// Of so many blocks of packets.
Grid lanes_of(int blocks, std::int64_t packs) {
  const std::int64_t each = (packs + blocks - 1) / blocks;
  return {blocks, static_cast<int>(std::clamp<std::int64_t>((each + 31) / 32 * 32, 64,
                                                            each <= kPacketThreads ? kPacketThreads : kThreads))};
}

Grid block_a_stripe(const PushLimits& limits, std::int64_t packs) {
  const int most = std::min(limits.rooms.ring_blocks, limits.max_blocks);
  return {static_cast<int>(std::clamp<std::int64_t>((packs + kThreads - 1) / kThreads, 1, most)), kThreads};
}

bool is_ring(TunedAlgorithm algorithm) {
  return algorithm == TunedAlgorithm::kRingTagged || algorithm == TunedAlgorithm::kRingBulk;
}

// The row for a call, if there is one and it fits.
const TunedCalls* find_tuned(const PushLimits& limits, Collective op, DType dtype, std::int64_t bytes) {
  for (const TunedCalls& row : limits.tuned) {
    if (row.op == op && bytes <= row.up_to_bytes) return fits(limits, row, dtype, bytes) ? &row : nullptr;
  }
  return nullptr;
}

AllReduceAlgorithm all_reduce_algorithm(TunedAlgorithm algorithm) {
  switch (algorithm) {
    case TunedAlgorithm::kOneShotTagged:
      return AllReduceAlgorithm::kOneShotTagged;
    case TunedAlgorithm::kOneShotSentinel:
      return AllReduceAlgorithm::kOneShotSentinel;
    case TunedAlgorithm::kTwoShotSentinel:
      return AllReduceAlgorithm::kTwoShotSentinel;
    default:
      return AllReduceAlgorithm::kRingBulk;
  }
}

MovePlan tuned_move(const TunedCalls& row, std::int64_t packs) {
  if (row.algorithm == TunedAlgorithm::kOneShotTagged) {
    const Grid grid = lanes_of(row.blocks, packs);
    return {MoveAlgorithm::kOneShotTagged, grid.blocks, grid.threads};
  }
  return {row.algorithm == TunedAlgorithm::kRingTagged ? MoveAlgorithm::kRingTagged : MoveAlgorithm::kRingBulk,
          row.blocks, kThreads};
}

}  // namespace

bool fits(const PushLimits& limits, const TunedCalls& row, DType dtype, std::int64_t bytes) {
  const std::int64_t packs = in_packs(bytes);
  const int most = is_ring(row.algorithm) ? std::min(limits.max_blocks, limits.rooms.ring_blocks) : limits.max_blocks;
  if (row.blocks < 1 || row.blocks > most) return false;
  const bool sums = row.op == Collective::kAllReduce;
  switch (row.algorithm) {
    case TunedAlgorithm::kBuiltIn:
      return false;
    case TunedAlgorithm::kOneShotTagged:
      return row.op != Collective::kSend && packs <= limits.rooms.one_shot_tagged;
    case TunedAlgorithm::kOneShotSentinel:
      return sums && is_float(dtype) && packs <= limits.rooms.one_shot_sentinel;
    case TunedAlgorithm::kTwoShotSentinel:
      return sums && is_float(dtype) && packs >= limits.world_size &&
             packs <= limits.rooms.two_shot_sentinel * limits.world_size;
    case TunedAlgorithm::kRingTagged:
      return row.op == Collective::kSend;
    case TunedAlgorithm::kRingBulk:
      return !sums || packs >= limits.world_size;
  }
  return false;
}

TunedCalls planned_call(const PushLimits& limits, Collective op, DType dtype, std::int64_t bytes) {
  TunedCalls call{.op = op, .up_to_bytes = bytes};
  if (op == Collective::kAllReduce) {
    constexpr TunedAlgorithm kAlgorithms[] = {TunedAlgorithm::kOneShotTagged, TunedAlgorithm::kOneShotSentinel,
                                              TunedAlgorithm::kTwoShotSentinel, TunedAlgorithm::kRingBulk};
    const AllReducePlan plan = plan_all_reduce(limits, dtype, bytes);
    call.algorithm = kAlgorithms[static_cast<int>(plan.algorithm)];
    call.blocks = plan.blocks;
  } else {
    constexpr TunedAlgorithm kAlgorithms[] = {TunedAlgorithm::kOneShotTagged, TunedAlgorithm::kRingTagged,
                                              TunedAlgorithm::kRingBulk};
    const MovePlan plan = op == Collective::kSend ? plan_message(limits, bytes) : plan_move(limits, op, bytes);
    call.algorithm = kAlgorithms[static_cast<int>(plan.algorithm)];
    call.blocks = plan.blocks;
  }
  return call;
}

Rooms plan_rooms(int world_size, InboxPlace place, std::int64_t inbox_bytes) {
  const bool peers = place == InboxPlace::kPeerMemory;
  Rooms rooms;
  rooms.one_shot_tagged = kTaggedRoom / std::max(1, world_size - 1);
  rooms.one_shot_sentinel = kOneShotRoom / std::max(1, world_size - 1);
  rooms.two_shot_sentinel = kTwoShotRoom / world_size;
  rooms.ring_tagged = kTaggedChunk;
  rooms.ring_blocks = world_size > 4 ? 32 : peers ? 128 : kHostRingBlocks;
  rooms.ring_bulk = (peers ? kRingBytes : kHostRingBytes) / (kPackBytes * kRingSlots * world_size * rooms.ring_blocks);
  if (inbox_bytes == 0) return rooms;
  check_inbox_bytes("the inbox", inbox_bytes, world_size);

  // Rings of small chunks, then few rings, then small packet areas, then the least of everything.
  const Rooms least = least_rooms(world_size);
  rooms.ring_bulk = kSmallChunk;
  const auto fits = [&] { return InboxLayout(world_size, rooms).bytes() <= inbox_bytes; };
  const auto halve = [&](auto& room, auto down_to) {
    while (room > down_to && !fits()) room = std::max(room / 2, down_to);
  };
  halve(rooms.ring_blocks, std::min(rooms.ring_blocks, kFewRingBlocks));
  halve(rooms.ring_tagged, least.ring_tagged);
  while (!fits() && rooms.two_shot_sentinel > least.two_shot_sentinel) {
    rooms.two_shot_sentinel = std::max(rooms.two_shot_sentinel / 2, least.two_shot_sentinel);
    rooms.one_shot_sentinel = std::max(rooms.one_shot_sentinel / 2, least.one_shot_sentinel);
    rooms.one_shot_tagged = std::max(rooms.one_shot_tagged / 2, least.one_shot_tagged);
  }
  if (!fits()) rooms = least;
  rooms.ring_bulk = 0;
  const std::int64_t rest = inbox_bytes - InboxLayout(world_size, rooms).bytes();
  rooms.ring_bulk = rest / (std::int64_t{kPackBytes} * kRingSlots * world_size * rooms.ring_blocks);
  return rooms;
}

std::int64_t least_inbox_bytes(int world_size) {
  return InboxLayout(world_size, least_rooms(world_size)).bytes();
}

void check_inbox_bytes(std::string_view name, std::int64_t inbox_bytes, int world_size) {
  const std::int64_t least = least_inbox_bytes(world_size);
  if (inbox_bytes >= least) return;
  fail_with_hint(ErrorKind::kInvalidArgument,
                 format("{} is {} bytes, and {} rank{} need{} {} at least", name, inbox_bytes, world_size,
                        world_size == 1 ? "" : "s", world_size == 1 ? "s" : "", least),
                 format("use {}K or more, or leave it out", (least + 1023) / 1024));
}

void check_memory_for_inboxes(std::string_view place, int inboxes, std::int64_t inbox_bytes, std::uint64_t free_bytes) {
  if (static_cast<std::uint64_t>(inbox_bytes) <= free_bytes / static_cast<std::uint64_t>(inboxes)) return;
  fail_with_hint(ErrorKind::kOutOfMemory,
                 format("{}: {} of {} bytes wanted for messages of other ranks, {} bytes are free", place,
                        inboxes == 1 ? "an inbox" : format("{} inboxes", inboxes), inbox_bytes, free_bytes),
                 "use a smaller --p2p-buffer-size, or end what else takes memory there");
}

AllReducePlan plan_all_reduce(const PushLimits& limits, DType dtype, std::int64_t bytes) {
  const std::int64_t packs = in_packs(bytes);
  if (const TunedCalls* row = find_tuned(limits, Collective::kAllReduce, dtype, bytes)) {
    const AllReduceAlgorithm algorithm = all_reduce_algorithm(row->algorithm);
    const bool lanes =
        algorithm == AllReduceAlgorithm::kOneShotTagged || algorithm == AllReduceAlgorithm::kOneShotSentinel;
    return {algorithm, row->blocks, lanes ? lanes_of(row->blocks, packs).threads : kThreads};
  }
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

MovePlan plan_move(const PushLimits& limits, Collective op, std::int64_t bytes) {
  const std::int64_t packs = in_packs(bytes);
  if (const TunedCalls* row = find_tuned(limits, op, DType::kU8, bytes)) return tuned_move(*row, packs);
  const bool one_shot = packs <= limits.rooms.one_shot_tagged;
  const Grid grid = one_shot ? lane_a_pack(limits, packs) : block_a_stripe(limits, packs / 4);
  return {one_shot ? MoveAlgorithm::kOneShotTagged : MoveAlgorithm::kRingBulk, grid.blocks, grid.threads};
}

MovePlan plan_message(const PushLimits& limits, std::int64_t bytes) {
  if (const TunedCalls* row = find_tuned(limits, Collective::kSend, DType::kU8, bytes)) {
    return tuned_move(*row, in_packs(bytes));
  }
  const bool tagged = bytes <= kTaggedRingBytes;
  const Grid grid = block_a_stripe(limits, in_packs(bytes) / (tagged ? 1 : 4));
  return {tagged ? MoveAlgorithm::kRingTagged : MoveAlgorithm::kRingBulk, grid.blocks, grid.threads};
}

}  // namespace tandem
