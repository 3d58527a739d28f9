#include "comm/group.h"

#include <atomic>
#include <map>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/log.h"

namespace tandem {

struct Group::State {
  GroupOptions options;
  alignas(64) std::atomic<bool> aborted{false};  // read by every call: on a line of its own
  std::mutex make_mutex;                         // held while a back-end's state is made; taken before `mutex`
  alignas(64) std::mutex mutex;                  // guards what follows
  ErrorKind kind = ErrorKind::kInternal;
  std::string message;
  std::string hint;
  std::map<std::string, std::shared_ptr<BackendState>, std::less<>> backends;
};

Group::Group(const GroupOptions& options) : state_(std::make_shared<State>()) {
  if (options.world_size < 1 || options.world_size > kMaxWorldSize) {
    fail(ErrorKind::kInvalidArgument, "a group of {} ranks; possible are 1 to {}", options.world_size, kMaxWorldSize);
  }
  if (options.timeout <= std::chrono::nanoseconds(0) || options.timeout > std::chrono::hours(24)) {
    fail(ErrorKind::kInvalidArgument, "a timeout of {} ns between ranks; possible is above 0, up to a day",
         options.timeout.count());
  }
  state_->options = options;
  log(LogLevel::kDebug, Subsystem::kComm, "group of {} ranks, timeout {} ms", options.world_size,
      std::chrono::duration_cast<std::chrono::milliseconds>(options.timeout).count());
}

const GroupOptions& Group::options() const {
  return state_->options;
}

bool Group::abort(int rank, std::string_view reason, ErrorKind kind, std::string_view hint) const {
  std::string message(reason);
  if (kind == ErrorKind::kPeerLost && rank >= 0) message = format("rank {} failed: {}", rank, reason);
  if (kind == ErrorKind::kCancelled) {
    message = rank >= 0 ? format("cancelled by rank {}: {}", rank, reason) : format("cancelled: {}", reason);
  }
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->aborted.load(std::memory_order_relaxed)) return false;
    state_->kind = kind;
    state_->message = message;
    state_->hint = hint;
    // Sequentially consistent: a rank about to touch another's memory sees this, or is seen touching (CpuCommunicator).
    state_->aborted.store(true, std::memory_order_seq_cst);
    for (const auto& [name, backend] : state_->backends) backend->wake_all();
  }
  log(LogLevel::kDebug, Subsystem::kComm, "group aborted ({}): {}", to_string(kind), message);
  return true;
}

bool Group::aborted() const noexcept {
  return state_->aborted.load(std::memory_order_seq_cst);
}

void Group::throw_cause(std::string_view where) const {
  const std::lock_guard lock(state_->mutex);
  TANDEM_CHECK(state_->aborted.load(std::memory_order_relaxed), "the group works");
  throw Error(state_->kind, where.empty() ? state_->message : format("{}\n  {}", state_->message, where), state_->hint);
}

std::shared_ptr<BackendState> Group::backend_state(std::string_view backend,
                                                   const std::function<std::shared_ptr<BackendState>()>& make) const {
  // Under a lock of its own, since it may take seconds, and an abort waits for nobody.
  const std::lock_guard making(state_->make_mutex);
  {
    const std::lock_guard lock(state_->mutex);
    const auto place = state_->backends.find(backend);
    if (place != state_->backends.end()) return place->second;
  }
  const std::shared_ptr<BackendState> made = make();
  const std::lock_guard lock(state_->mutex);
  state_->backends.emplace(std::string(backend), made);
  if (state_->aborted.load(std::memory_order_relaxed)) made->wake_all();
  return made;
}

}  // namespace tandem
