#pragma once
// How long the GPU has been at a rank's oldest unfinished call. For back-ends whose kernels have no deadline: the host
// keeps it for them.

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "device/cuda/runtime.h"

namespace tandem {

/// Used by the rank's own thread.
class CallWatch {
 public:
  explicit CallWatch(int device) : device_(device) {}

  /// `operation` has just been queued on `stream`.
  void add(void* stream, std::uint32_t operation) {
    if (cuda::is_capturing(stream)) {  // an event in a graph says nothing about its launches
      captured_ = operation;
      return;
    }
    if (pending_.empty()) since_ = Clock::now();
    if (free_.empty()) free_.emplace_back(device_);
    pending_.push_back({std::move(free_.back()), operation});
    free_.pop_back();
    pending_.back().finished.record(stream);
    drop_finished();
  }

  struct Call {
    std::uint32_t operation;
    /// Since the call before it was seen to be finished. Other work on the stream counts as its own: it is the GPU's
    /// only sign of life.
    Clock::time_point since;
  };
  /// The oldest call that is not finished. If there is none, but some were recorded into graphs, the last of those: it
  /// may be what runs, since `waiting_since` at most.
  std::optional<Call> oldest(Clock::time_point waiting_since) {
    drop_finished();
    if (!pending_.empty()) return Call{pending_.front().operation, since_};
    if (captured_ != 0) return Call{captured_, waiting_since};
    return std::nullopt;
  }

 private:
  struct Pending {
    cuda::Event finished;
    std::uint32_t operation;
  };
  void drop_finished() {
    while (!pending_.empty() && pending_.front().finished.is_done()) {
      free_.push_back(std::move(pending_.front().finished));
      pending_.pop_front();
      since_ = Clock::now();
    }
  }

  int device_;
  std::deque<Pending> pending_;
  std::vector<cuda::Event> free_;
  Clock::time_point since_;
  std::uint32_t captured_ = 0;
};

}  // namespace tandem
