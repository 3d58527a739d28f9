#include "comm/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

namespace tandem {

void Doorbell::wake() noexcept {
  rings_.fetch_add(1, std::memory_order_seq_cst);
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&rings_), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

bool Doorbell::sleep(std::uint32_t seen, Clock::time_point deadline) noexcept {
  static_assert(sizeof(rings_) == sizeof(std::uint32_t) && std::atomic<std::uint32_t>::is_always_lock_free);
  timespec until{};
  const timespec* limit = nullptr;
  if (deadline != Clock::time_point::max()) {
    if (Clock::now() >= deadline) return false;
    // steady_clock is CLOCK_MONOTONIC, and FUTEX_WAIT_BITSET takes an absolute time of that clock.
    const auto since_boot = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.time_since_epoch()).count();
    until.tv_sec = static_cast<std::time_t>(since_boot / 1'000'000'000);
    until.tv_nsec = static_cast<long>(since_boot % 1'000'000'000);
    limit = &until;
  }
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&rings_), FUTEX_WAIT_BITSET_PRIVATE, seen, limit, nullptr,
          FUTEX_BITSET_MATCH_ANY);
  return true;  // the caller looks again, and comes back here if it has to
}

}  // namespace tandem
