#pragma once
// Launchers of the protocols' kernels. They queue and do not wait, in graph capture too; they return a cudaError_t.

#include "base/dtype.h"
#include "comm/push/push_device.h"

namespace tandem {

enum class AllReduceAlgorithm { kOneShotTagged, kOneShotSentinel, kTwoShotSentinel, kRingBulk };

/// `out` may be `in`. Sentinel packets: floats only, and in two shots at least a pack a rank.
int launch_all_reduce(const PushRank& rank, const PushLaunch& launch, AllReduceAlgorithm algorithm, DType dtype,
                      ConstView in, View out);

/// Of messages between ranks. Those of send and recv go over rings; kRingTagged is for them alone.
enum class MoveAlgorithm { kOneShotTagged, kRingTagged, kRingBulk };

/// All-gather, broadcast, gather, send and recv: see ring_exchange.
struct Exchange {
  ConstView in;
  std::uint32_t sends_to = 0;       ///< a bit a rank
  std::uint32_t receives_from = 0;  ///< a bit a rank; this rank's own: copies `in`
  std::byte* out = nullptr;
  Places places;  ///< in `out`
};
int launch_exchange(const PushRank& rank, const PushLaunch& launch, MoveAlgorithm algorithm, const Exchange& exchange);

/// See ring_reduce_scatter.
struct ReduceScatter {
  const std::byte* in = nullptr;
  Places places;  ///< in `in`
  View out;
};
int launch_reduce_scatter(const PushRank& rank, const PushLaunch& launch, MoveAlgorithm algorithm, DType dtype,
                          const ReduceScatter& reduce_scatter);

/// Fills 32-bit words of device memory, or of host memory that the GPU can write.
int launch_fill(void* stream, void* out, std::uint32_t word, std::int64_t count);

/// Loads every kernel of such groups on the current device: a kernel that is loaded at its first launch waits for all
/// others there, so for a peer that waits for it.
int load_push_kernels(int world_size);

}  // namespace tandem
