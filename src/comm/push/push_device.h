#pragma once
// What kernels of the push back-ends work with. Plain data, for host and device.

#include <cstdint>

#include "comm/group_size.h"
#include "comm/protocol/layout.h"

namespace tandem {

/// Why a lane stopped waiting: written once by one lane, read by the host.
struct WaitRecord {
  enum : std::uint32_t { kNone = 0, kComplete = 1 };
  std::uint32_t state = kNone;
  std::uint32_t operation = 0;  ///< the rank's count of queued collectives
  std::uint32_t generation = 0;
  std::int32_t phase = 0, block = 0, peer = 0;
};

/// A rank's words in pinned host memory.
struct HostWords {
  alignas(64) std::uint32_t abort = 0;   ///< written by the host: leave
  alignas(64) std::uint32_t broken = 0;  ///< written by the GPU: a collective left early, its output is unspecified
  std::uint32_t graph_launches = 0;      ///< written by the GPU: with calls whose deadline the host keeps
  WaitRecord record;
};

enum class PacketArea { kOneShotTagged, kOneShotSentinel, kTwoShotSentinel };
inline constexpr int kNumPacketAreas = 3;

/// A rank's words in the memory of its GPU.
struct DeviceWords {
  std::uint32_t poison = 0;    ///< the group is dead: kernels return at once. Peers may write it.
  std::uint32_t reported = 0;  ///< a lane has taken on the record
  /// One counter an area, not one a block: blocks that start at different calls cannot come apart.
  struct Area {
    /// 2^16 a call, to which each block adds its part once it has read it. So the calls before this one are the upper
    /// bits, whether blocks of this call have added already or not, and nobody waits for an arrival.
    std::uint64_t progress = 0;
    std::int64_t num_packs[2] = {};  ///< of the last calls, by parity
  } areas[kNumPacketAreas];
};
inline constexpr int kProgressBits = 16;

/// One rank's part of a group, an argument of every kernel.
struct PushRank {
  int rank = 0;
  int world_size = 1;
  std::uint64_t deadline_ns = 0;
  std::uint32_t polls_a_look = 1024;  ///< at the poison; 2^4 times as many at the host's word and the clock
  DeviceWords* words = nullptr;
  std::uint32_t* counters = nullptr;  ///< chunks of rings: [2: sent, received][ring_blocks][world_size]
  HostWords* host = nullptr;
  std::byte* inboxes[kMaxWorldSize] = {};      ///< by rank, as this GPU names them
  std::uint32_t* poisons[kMaxWorldSize] = {};  ///< by rank; null where this GPU cannot write it
  InboxLayout layout;
};

/// Places of the ranks' parts in a tensor, in bytes: rank r's ends where the next begins.
struct Places {
  std::int64_t offsets[kMaxWorldSize + 1] = {};
  TANDEM_HD std::int64_t begin(int r) const { return offsets[r]; }
  TANDEM_HD std::int64_t bytes(int r) const { return offsets[r + 1] - offsets[r]; }
};

/// How a kernel is queued.
struct PushLaunch {
  void* stream = nullptr;
  int blocks = 1;
  int threads = 512;
  int cluster = 1;  ///< blocks of a cluster
  std::uint32_t operation = 0;
};

}  // namespace tandem
