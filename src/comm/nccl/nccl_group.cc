#include "comm/nccl/nccl_group.h"

#include <thread>
#include <utility>

#include "base/error.h"
#include "device/cpu/start_thread.h"

namespace tandem {
namespace {

constexpr Clock::duration kFinish = std::chrono::seconds(1);
constexpr Clock::duration kNap = std::chrono::microseconds(100);

bool finish(NcclComm comm) {
  const NcclApi& api = nccl();
  NcclResult result = api.comm_finalize(comm);
  for (const Clock::time_point deadline = Clock::now() + kFinish;
       result == NcclResult::kInProgress && Clock::now() < deadline;) {
    std::this_thread::sleep_for(kNap);
    if (api.comm_get_async_error(comm, &result) != NcclResult::kSuccess) return false;
  }
  return result == NcclResult::kSuccess;
}

void destroy(NcclComm comm, NcclHandle::How how) {
  if (how == NcclHandle::How::kFinish && finish(comm)) {
    nccl().comm_destroy(comm);
  } else {
    nccl().comm_abort(comm);
  }
}

}  // namespace

NcclHandle::~NcclHandle() {
  end(How::kAbort);
}

std::optional<NcclResult> NcclHandle::create(int world_size, const NcclUniqueId& id, int rank) {
  const std::lock_guard lock(mutex_);
  if (ended_) return std::nullopt;
  NcclConfig config;
  config.blocking = 0;
  return nccl().comm_init_rank_config(&comm_, world_size, id, rank, &config);
}

void NcclHandle::end(How how) noexcept {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  NcclComm comm = std::exchange(comm_, nullptr);
  if (comm == nullptr) return;
  try {
    ending_ = std::make_shared<Ending>();
    start_thread("the end of an NCCL communicator", [comm, how, ending = ending_] {
      destroy(comm, how);
      ending->done.store(true);
      ending->bell.ring();
    }).detach();
  } catch (...) {  // no thread, no memory: then here
    destroy(comm, how);
    ending_ = nullptr;
  }
}

bool NcclHandle::wait_until_ended(Clock::time_point deadline) noexcept {
  std::shared_ptr<Ending> ending;
  {
    const std::lock_guard lock(mutex_);
    ending = ending_;
  }
  return !ending || ending->bell.wait([&] { return ending->done.load(); }, Clock::duration::zero(), deadline);
}

NcclGroup::NcclGroup(const GroupOptions& options) : handles_(static_cast<std::size_t>(options.world_size)) {
  for (std::size_t r = 0; r < options.devices.size(); ++r) {
    for (std::size_t other = 0; other < r; ++other) {
      if (options.devices[r] != options.devices[other]) continue;
      fail_with_hint(ErrorKind::kUnsupported,
                     format("nccl: ranks {} and {} share {}", other, r, to_string(options.devices[r])),
                     "NCCL puts one rank on a GPU: use as many GPUs as ranks, or another back-end");
    }
  }
  const NcclApi& api = nccl();
  if (options.world_size == 1) return;
  if (const NcclResult result = api.get_unique_id(&id_); result != NcclResult::kSuccess) {
    fail_with_hint(
        ErrorKind::kUnsupported,
        format("nccl: cannot start a group: {}: {}", api.get_error_string(result), api.get_last_error(nullptr)),
        "NCCL's ranks meet over a network interface, the loopback at least: see NCCL_DEBUG=INFO, and "
        "NCCL_SOCKET_IFNAME to choose one");
  }
}

void NcclGroup::wake_all() noexcept {
  for (NcclHandle& handle : handles_) handle.end(NcclHandle::How::kAbort);
  bell.ring();
}

}  // namespace tandem
