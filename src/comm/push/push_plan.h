#pragma once
// Which algorithm carries a call, and in how many blocks: a pure function of what is the same on all ranks, so that all
// choose alike without a word.

#include "base/dtype.h"
#include "comm/push/push_kernels.h"

namespace tandem {

/// Where inboxes lie.
enum class InboxPlace {
  kPeerMemory,  ///< in the receiver's GPU, mapped by all others (p2p)
  kHostMemory,  ///< in pinned host memory (native): needs no peer access
};

/// Of every inbox: how much memory p2p and native take.
Rooms plan_rooms(int world_size, InboxPlace place);

struct PushLimits {
  int world_size = 1;
  int max_blocks = 1;  ///< of any kernel: all blocks of all ranks must run at once
  Rooms rooms;
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
/// Of a collective; `bytes`: the largest message between two ranks.
MovePlan plan_move(const PushLimits& limits, std::int64_t bytes);
/// Of send and recv.
MovePlan plan_message(const PushLimits& limits, std::int64_t bytes);

}  // namespace tandem
