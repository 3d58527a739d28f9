#pragma once
// A GPU that hangs, for tests: a kernel that keeps a stream busy.

#include <atomic>
#include <cstdint>
#include <set>
#include <vector>

#include "base/error.h"
#include "comm/gpu/stall_kernel.h"
#include "device/cuda/runtime.h"
#include "device/stream.h"

namespace tandem {

class Stall {
 public:
  explicit Stall(const std::vector<Device>& devices) : release_(sizeof(std::uint32_t)) {
    std::set<int> indices;
    for (const Device& device : devices) indices.insert(device.index);
    for (const int index : indices) {
      const cuda::OnDevice current(index);
      if (load_stall() != 0) fail(ErrorKind::kInternal, "cannot load the kernel that stalls cuda:{}", index);
    }
  }
  /// Until release(), or kLimit.
  void queue(const Stream& stream) const {
    const cuda::OnDevice current(stream.device().index);
    const auto* release = static_cast<const std::uint32_t*>(release_.on(stream.device().index));
    if (launch_stall(stream.cuda_handle(), release, kLimitNs) != 0) fail(ErrorKind::kInternal, "cannot stall");
  }
  void release() { std::atomic_ref<std::uint32_t>(*static_cast<std::uint32_t*>(release_.data())).store(1); }
  ~Stall() { release(); }  // then its memory, which waits for the GPU, can go

 private:
  static constexpr std::uint64_t kLimitNs = 8'000'000'000;
  cuda::PinnedBuffer release_;
};

}  // namespace tandem
