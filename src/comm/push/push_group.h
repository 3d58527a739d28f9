#pragma once
// The memory that the ranks of a push back-end write into: made once, by the first rank to come, for all.

#include <map>
#include <vector>

#include "comm/gpu/gpu_group.h"
#include "comm/push/push_plan.h"
#include "device/stream.h"

namespace tandem {

class PushGroup final : public BackendState {
 public:
  /// The inboxes are as large as the options say, else as the tuning does.
  /// Throws kUnsupported when a GPU cannot map another's memory, kOutOfMemory when one has not enough, and as
  /// plan_rooms() does.
  PushGroup(const GroupOptions& options, const GpuGroup& gpus, InboxPlace place, const Tuning& tuning);
  ~PushGroup() override;
  /// Poisons every rank: kernels that wait leave at their next look, kernels yet to start when they start. Host words
  /// alone would do the former, later.
  void wake_all() noexcept override;

  const PushLimits& limits() const { return limits_; }
  /// The kernels' view of one rank.
  const PushRank& rank(int r) const { return ranks_[static_cast<std::size_t>(r)]; }

 private:
  void check_memory(std::int64_t inbox_bytes, bool peers) const;
  void set_up(int r, int device, std::uint32_t start);

  PushLimits limits_;
  std::vector<int> devices_;
  std::vector<cuda::PeerBuffer> peer_memory_;  // inbox and own words, by rank
  std::vector<cuda::PinnedBuffer> host_inboxes_;
  cuda::PinnedBuffer poison_{sizeof(DeviceWords::poison)};
  std::map<int, Stream> wake_streams_;  // by device
  std::vector<PushRank> ranks_;
};

}  // namespace tandem
