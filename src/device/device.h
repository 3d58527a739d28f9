#pragma once
// The name of a place where tensors live.

#include <string>

namespace tandem {

enum class DeviceKind { kCpu, kCuda };

struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;  ///< CUDA: the runtime's device number. CPU: the rank's place in the group, only a name.

  bool is_cpu() const { return kind == DeviceKind::kCpu; }
  bool operator==(const Device&) const = default;
};

/// "cpu:0", "cuda:1"
std::string to_string(Device device);

/// Whether this build holds the CUDA back-ends; a build without discards their branches (`if constexpr`).
#if defined(TANDEM_WITH_CUDA)
inline constexpr bool kBuiltWithCuda = true;
#else
inline constexpr bool kBuiltWithCuda = false;
#endif

/// Whether GPUs are the host's threads (tests/cuda_emulation): all is right but its time.
#if defined(TANDEM_CUDA_EMULATED)
inline constexpr bool kEmulatedGpus = true;
#else
inline constexpr bool kEmulatedGpus = false;
#endif

}  // namespace tandem
