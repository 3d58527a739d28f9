#include "comm/cpu/cpu_group.h"

#include <algorithm>

#include "device/cpu/thread_pool.h"

namespace tandem {
namespace {

// Ranks on cores of their own meet within a few us; where other work has taken a core, polling only delays the sleep.
constexpr Clock::duration kSpin = std::chrono::microseconds(5);

std::size_t squared(int n) {
  return static_cast<std::size_t>(n) * static_cast<std::size_t>(n);
}

}  // namespace

CpuGroup::CpuGroup(const GroupOptions& options)
    : ranks_(static_cast<std::size_t>(options.world_size)),
      published_(ranks_.size() * 2),
      channels_(squared(options.world_size)),
      staging_(Device{}, ranks_.size() * 2 * kStagedBytes),
      slots_(Device{}, channels_.size() * kSlots * kSlotBytes),
      spin_(has_core_each(std::max(options.world_size, options.num_threads)) ? kSpin : Clock::duration::zero()) {
  for (Rank& rank : ranks_) rank.generation = options.first_generation * 2;
  for (Channel& channel : channels_) channel.sent = channel.received = options.first_generation;
}

void CpuGroup::wake_all() noexcept {
  barrier.ring();
  for (Rank& rank : ranks_) rank.messages.ring();
}

}  // namespace tandem
