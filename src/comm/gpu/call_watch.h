#pragma once
// How far a rank's GPU has come with its calls, and how long it has been at the oldest unfinished one. For back-ends
// whose kernels have no deadline: the host keeps it for them, and names the ranks that are behind.

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "device/cuda/runtime.h"

namespace tandem {

/// The rank's own thread adds calls; any thread may ask.
class CallWatch {
 public:
  explicit CallWatch(int device) : device_(device) {}

  /// The rank's `operation`, collective `number` (0: none), is about to be queued on `stream`. Returns whether it is
  /// the first that is recorded into a graph.
  bool begin(void* stream, std::uint32_t operation, std::uint32_t number) {
    const std::lock_guard lock(mutex_);
    const unsigned long long capture = cuda::capture_id(stream);
    if (capture != 0) {  // an event in a graph says nothing about its launches
      captured_ = operation;
      return std::exchange(capture_, capture) != capture;
    }
    if (!pending_.empty() && !pending_.back().queued) pending_.pop_back();  // that one failed
    if (pending_.empty()) since_ = Clock::now();
    pending_.push_back({take_event(), take_event(), operation, number});
    pending_.back().begun.record(stream);
    return false;
  }
  /// It has been queued.
  void end(void* stream) {
    const std::lock_guard lock(mutex_);
    if (cuda::capture_id(stream) != 0) return;
    pending_.back().finished.record(stream);
    pending_.back().queued = true;
    drop_finished();
  }

  struct Call {
    std::uint32_t operation;
    bool begun;  ///< the GPU is at it for sure, and not at what was queued before
    /// Since the call before it was seen to be finished. Other work on the stream counts as its own: it is the GPU's
    /// only sign of life.
    Clock::time_point since;
  };
  /// The oldest call that is not finished. If there is none, but some were recorded into graphs, the last of those: it
  /// may be what runs, since `waiting_since` at most.
  std::optional<Call> oldest(Clock::time_point waiting_since) {
    const std::lock_guard lock(mutex_);
    drop_finished();
    if (!pending_.empty()) return Call{pending_.front().operation, pending_.front().begun.is_done(), since_};
    if (captured_ != 0) return Call{captured_, false, waiting_since};
    return std::nullopt;
  }

  /// The last collectives that the GPU has begun, its stream having come to them, and finished. Graphs do not count.
  struct Progress {
    std::uint32_t begun = 0, finished = 0;
  };
  Progress progress() noexcept {
    const std::lock_guard lock(mutex_);
    try {
      drop_finished();
    } catch (const Error&) {  // the GPU has failed, or may not be asked while this thread records a graph
    }
    return progress_;
  }

 private:
  struct Pending {
    cuda::Event begun, finished;
    std::uint32_t operation, number;
    bool queued = false;  // before, `finished` is not recorded, or tells of another call
  };
  cuda::Event take_event() {
    if (free_.empty()) return cuda::Event(device_);
    cuda::Event event = std::move(free_.back());
    free_.pop_back();
    return event;
  }
  void drop_finished() {
    while (!pending_.empty()) {
      Pending& oldest = pending_.front();
      if (oldest.number != 0 && progress_.begun != oldest.number && oldest.begun.is_done()) {
        progress_.begun = oldest.number;
      }
      if (!oldest.queued || !oldest.finished.is_done()) return;
      if (oldest.number != 0) progress_ = {oldest.number, oldest.number};
      free_.push_back(std::move(oldest.begun));
      free_.push_back(std::move(oldest.finished));
      pending_.pop_front();
      since_ = Clock::now();
    }
  }

  int device_;
  std::mutex mutex_;
  std::deque<Pending> pending_;
  std::vector<cuda::Event> free_;
  Clock::time_point since_;
  Progress progress_;
  std::uint32_t captured_ = 0;
  unsigned long long capture_ = 0;
};

}  // namespace tandem
