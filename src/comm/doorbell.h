#pragma once
// Waiting for another thread's store: spin for a moment, then sleep in the kernel, never past a deadline.
// std::atomic::wait is no substitute: it has no deadline.

#include <atomic>
#include <cstdint>

#include "base/clock.h"

namespace tandem {

/// Any number of waiters, any number of ringers. Nobody is missed if the condition is a function of atomics that are
/// stored (before ring) and loaded with sequential consistency: a waiter announces itself before it looks for the last
/// time, so either it sees the store or the ringer sees it.
class Doorbell {
 public:
  /// Wakes all waiters so that they look again. No system call when nobody sleeps.
  void ring() noexcept {
    if (sleepers_.load(std::memory_order_seq_cst) != 0) wake();
  }

  /// Returns ready() as it became true, or false at `deadline` (Clock::time_point::max(): none). `spin`: how long to
  /// poll before sleeping; 0 where threads outnumber cores and polling would only keep the awaited one from running.
  template <class Ready>
  bool wait(const Ready& ready, Clock::duration spin, Clock::time_point deadline) {
    if (ready()) return true;
    if (spin > Clock::duration::zero()) {
      const Clock::time_point end = Clock::now() + spin;
      do {
        for (int poll = 0; poll < kPollsPerClock; ++poll) {
          pause();
          if (ready()) return true;
        }
      } while (Clock::now() < end);
    }
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    bool done = false;
    for (bool in_time = true; in_time;) {
      const std::uint32_t seen = rings_.load(std::memory_order_seq_cst);
      done = ready();
      if (done) break;
      in_time = sleep(seen, deadline);
    }
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
    return done || ready();
  }

  static void pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

 private:
  static constexpr int kPollsPerClock = 16;
  void wake() noexcept;
  /// Until a ring later than `seen`, or anything else that wakes; false once the deadline has passed.
  bool sleep(std::uint32_t seen, Clock::time_point deadline) noexcept;

  alignas(64) std::atomic<std::uint32_t> rings_{0};  // the futex
  std::atomic<std::uint32_t> sleepers_{0};
};

}  // namespace tandem
