#pragma once
// What the host sides of all ranks of a group on GPUs share, whatever carries the bytes: who has called what, and the
// words by which GPUs are told to leave, and tell why they left.

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "comm/call.h"
#include "comm/doorbell.h"
#include "comm/gpu/call_watch.h"
#include "comm/push/push_device.h"
#include "device/cuda/runtime.h"

namespace tandem {

/// The calls of one rank, or its messages to or from one peer, in order. One writer; any thread reads.
class CallSequence {
 public:
  /// How many are remembered, and how many of those that were recorded into graphs, which may be launched much later.
  static constexpr std::uint32_t kRemembered = 1024;
  static constexpr std::size_t kRememberedCaptured = 16 * 1024;

  /// Returns its number, from 1 on.
  std::uint32_t add(const Call& call);
  std::uint32_t count() const { return count_.load(std::memory_order_seq_cst); }
  /// Nothing if it was not added yet, or is forgotten.
  std::optional<Call> find(std::uint32_t number) const;

 private:
  std::atomic<std::uint32_t> count_{0};
  mutable std::mutex mutex_;  // guards what follows
  std::vector<Call> calls_;
  std::map<std::uint32_t, Call> captured_;  // by number
};

class GpuGroup final : public BackendState {
 public:
  /// Throws kInvalidArgument unless the group names a GPU for each rank, and a different one unless they may be shared;
  /// kNotFound for one that does not exist.
  explicit GpuGroup(const GroupOptions& options);
  /// Makes every kernel of the group leave.
  void wake_all() noexcept override;

  struct Rank {
    CallSequence calls;       ///< collectives, barriers included
    CallSequence operations;  ///< all that was queued, send and recv included
    CallWatch watch;          ///< of those whose deadline the host keeps
    std::atomic<bool> joined{false};
    std::atomic<bool> departed{false};
    explicit Rank(int device) : watch(device) {}
  };
  Rank& rank(int r) { return *ranks_[static_cast<std::size_t>(r)]; }
  int world_size() const { return static_cast<int>(ranks_.size()); }
  int device(int r) const { return devices_[static_cast<std::size_t>(r)]; }
  /// Messages of an ordered pair, as sent or as received.
  CallSequence& messages(Collective op, int from, int to);

  HostWords& words(int r) const { return static_cast<HostWords*>(words_.data())[r]; }
  HostWords* words_on_gpu(int r) const { return static_cast<HostWords*>(words_.on(device(r))) + r; }

  Doorbell barrier;  ///< rung with each call and each departure

 private:
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<int> devices_;
  std::vector<std::unique_ptr<CallSequence>> messages_;  // [2: sent, received][from][to]
  cuda::PinnedBuffer words_;                             // HostWords by rank
};

}  // namespace tandem
