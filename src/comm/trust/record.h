#pragma once
// A snapshot of this machine, with what only its GPUs can tell.

#include <functional>
#include <span>

#include "comm/trust/machine_snapshot.h"
#include "device/device.h"

namespace tandem {

/// What runs on the devices and takes its time there. An empty function leaves its part out.
struct Measurements {
  using Function = std::function<void(std::span<const Device> devices, MachineSnapshot& machine)>;
  Function probe;  ///< fills PairFacts::probe of every pair with access
  Function
      calibrate;  ///< fills MachineSnapshot::calls, for the back-ends that can serve: from the profile, if there is one
};

/// Those that this build has for these devices.
Measurements own_measurements(std::span<const Device> devices);

/// Facts, then the probe, then the calibration. `devices` are all CPUs or all GPUs that exist.
MachineSnapshot record_snapshot(std::span<const Device> devices, const Measurements& measurements);

}  // namespace tandem
