#pragma once
// Which algorithm carries a call, and in how many blocks: a pure function of what is the same on all ranks, so that all
// choose alike without a word.

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "comm/push/push_kernels.h"
#include "comm/push/tuning.h"

namespace tandem {

/// Where inboxes lie.
enum class InboxPlace {
  kPeerMemory,  ///< in the receiver's GPU, mapped by all others (p2p)
  kHostMemory,  ///< in pinned host memory (native): needs no peer access
};

/// Of every inbox: how much memory p2p and native take. `inbox_bytes` (0: chosen) is not exceeded, and used up to a
/// pack a chunk: what a smaller inbox lacks is taken from the rings first, whose chunks get smaller, then from the
/// packets; what a larger one has more goes to the rings. Throws as check_inbox_bytes().
Rooms plan_rooms(int world_size, InboxPlace place, std::int64_t inbox_bytes = 0);

/// The smallest inbox, some hundred KB.
std::int64_t least_inbox_bytes(int world_size);
/// Throws kInvalidArgument for an inbox below that; `name` is what the user calls it, "shbuf_size".
void check_inbox_bytes(std::string_view name, std::int64_t inbox_bytes, int world_size);
/// Throws kOutOfMemory if `inboxes` of so many bytes are larger than what is free in `place`: "cuda:1".
void check_memory_for_inboxes(std::string_view place, int inboxes, std::int64_t inbox_bytes, std::uint64_t free_bytes);

struct PushLimits {
  int world_size = 1;
  int max_blocks = 1;  ///< of any kernel: all blocks of all ranks must run at once
  Rooms rooms;
  /// Of this back-end, by rising bounds. A row that does not fit (rooms, dtype, blocks) is passed over: the built-in
  /// plan holds.
  std::vector<TunedCalls> tuned = {};
};

struct AllReducePlan {
  AllReduceAlgorithm algorithm;
  int blocks;
  int threads;
};
AllReducePlan plan_all_reduce(const PushLimits& limits, DType dtype, std::int64_t bytes);

/// Whether an all-reduce with norm goes in one kernel; else it is faster in two steps, or does not fit.
bool plan_rows(const PushLimits& limits, std::int64_t rows, std::int64_t row_packs);

struct MovePlan {
  MoveAlgorithm algorithm;
  int blocks;
  int threads;
};
/// Of all-gather, reduce-scatter, broadcast or gather; `bytes`: the largest message between two ranks.
MovePlan plan_move(const PushLimits& limits, Collective op, std::int64_t bytes);
/// Of send and recv.
MovePlan plan_message(const PushLimits& limits, std::int64_t bytes);

/// Whether the plan of such a call would follow the row, whatever the row's bound: what may be measured.
bool fits(const PushLimits& limits, const TunedCalls& row, DType dtype, std::int64_t bytes);
/// What carries such a call.
TunedCalls planned_call(const PushLimits& limits, Collective op, DType dtype, std::int64_t bytes);

}  // namespace tandem
