#pragma once
// What this process has found out about its GPUs. Each group of devices is looked at once a process.

#include <memory>
#include <span>

#include "comm/trust/machine_snapshot.h"
#include "device/device.h"

namespace tandem {

enum class Knowledge {
  kFacts,       ///< what others tell, and the tuning of the machine's profile: milliseconds
  kProbed,      ///< and the links were probed: below a second for two GPUs
  kCalibrated,  ///< and the back-ends measured, or recalled from the profile: seconds, or none
};

/// Of these devices, all CPUs or all GPUs that exist. GPUs that occur twice are looked at once. Any thread; while one
/// looks, others wait.
std::shared_ptr<const MachineSnapshot> known_machine(std::span<const Device> devices, Knowledge knowledge);

}  // namespace tandem
