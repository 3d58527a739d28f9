#pragma once
// The NCCL communicators of a group's ranks, and their end: any thread may bring it about, while a rank is in a call.

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "comm/doorbell.h"
#include "comm/group.h"
#include "comm/nccl/nccl_api.h"

namespace tandem {

/// One rank's. NCCL frees a communicator in ncclCommAbort and ncclCommDestroy, and lets one thread at a time use it: so
/// every use is inside use(), and to end it is to take it away from there. Every member may be called by any thread.
class NcclHandle {
 public:
  ~NcclHandle();

  /// Starts what ncclCommInitRankConfig does, for the calling thread's current GPU. Nothing if end() came first.
  std::optional<NcclResult> create(int world_size, const NcclUniqueId& id, int rank);

  /// call(comm), or nothing if there is no communicator any more. `call` must not wait: non-blocking communicators
  /// queue what they are asked for on a thread of NCCL's.
  template <class Call>
  std::optional<NcclResult> use(const Call& call) {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) return std::nullopt;
    return call(comm_);
  }

  enum class How {
    kAbort,   ///< its kernels leave at once
    kFinish,  ///< what is queued is finished first, within a second; after that, kAbort
  };
  /// Returns at once, and may be repeated. On a thread of its own, because NCCL waits: for graphs that have recorded
  /// its calls, and in the last rank's call for the GPUs of all ranks.
  void end(How how) noexcept;
  /// Whether NCCL has let go of everything, at the latest at `deadline`.
  bool wait_until_ended(Clock::time_point deadline) noexcept;

 private:
  std::mutex mutex_;
  NcclComm comm_ = nullptr;
  bool ended_ = false;
  /// Outlives this if NCCL does not return.
  struct Ending {
    std::atomic<bool> done{false};
    Doorbell bell;
  };
  std::shared_ptr<Ending> ending_;
};

class NcclGroup final : public BackendState {
 public:
  /// Throws kUnsupported where NCCL is missing, or two ranks share a GPU.
  explicit NcclGroup(const GroupOptions& options);
  void wake_all() noexcept override;

  const NcclUniqueId& id() const { return id_; }
  NcclHandle& handle(int r) { return handles_[static_cast<std::size_t>(r)]; }

  Doorbell bell;  ///< rung when a rank is set up, and by an abort

 private:
  NcclUniqueId id_;
  std::vector<NcclHandle> handles_;
};

}  // namespace tandem
