#include "comm/gpu/gpu_group.h"

#include <algorithm>

#include "base/error.h"

namespace tandem {

std::uint32_t CallSequence::add(const Call& call) {
  const std::uint32_t number = count_.load(std::memory_order_relaxed) + 1;
  {
    const std::lock_guard lock(mutex_);
    if (calls_.size() < kRemembered) {
      calls_.push_back(call);
    } else {
      calls_[(number - 1) % kRemembered] = call;
    }
    if (call.captured) captured_.emplace_hint(captured_.end(), number, call);
    if (captured_.size() > kRememberedCaptured) captured_.erase(captured_.begin());
  }
  // Sequentially consistent: of two ranks that compare a call, the later to add it sees the other's.
  count_.store(number, std::memory_order_seq_cst);
  return number;
}

std::optional<Call> CallSequence::find(std::uint32_t number) const {
  const std::lock_guard lock(mutex_);
  const std::uint32_t count = count_.load(std::memory_order_seq_cst);
  if (number == 0 || number > count) return std::nullopt;
  if (number + kRemembered > count) return calls_[(number - 1) % kRemembered];
  const auto place = captured_.find(number);
  return place != captured_.end() ? std::optional(place->second) : std::nullopt;
}

GpuGroup::GpuGroup(const GroupOptions& options)
    : words_(static_cast<std::size_t>(options.world_size) * sizeof(HostWords)) {
  const int num_devices = cuda::num_devices();
  if (static_cast<int>(options.devices.size()) != options.world_size) {
    fail(ErrorKind::kInvalidArgument, "{} devices for {} ranks", options.devices.size(), options.world_size);
  }
  for (const Device& device : options.devices) {
    if (device.is_cpu()) fail(ErrorKind::kInvalidArgument, "{} is no GPU", to_string(device));
    if (device.index < 0 || device.index >= num_devices) {
      fail(ErrorKind::kNotFound, "there is no {}; {} GPUs are visible", to_string(device), num_devices);
    }
    if (!options.shared_devices && std::count(options.devices.begin(), options.devices.end(), device) > 1) {
      fail(ErrorKind::kInvalidArgument, "{} is given to more than one rank", to_string(device));
    }
    devices_.push_back(device.index);
    ranks_.push_back(std::make_unique<Rank>(device.index));
  }
  const auto pairs = 2 * ranks_.size() * ranks_.size();
  for (std::size_t i = 0; i < pairs; ++i) messages_.push_back(std::make_unique<CallSequence>());
}

void GpuGroup::wake_all() noexcept {
  for (int r = 0; r < world_size(); ++r) {
    std::atomic_ref<std::uint32_t>(words(r).abort).store(1, std::memory_order_relaxed);
  }
  barrier.ring();
}

CallSequence& GpuGroup::messages(Collective op, int from, int to) {
  const int kind = op == Collective::kSend ? 0 : 1;
  return *messages_[static_cast<std::size_t>((kind * world_size() + from) * world_size() + to)];
}

}  // namespace tandem
