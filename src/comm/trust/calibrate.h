#pragma once
// How fast each back-end is here, so that the fastest can be chosen.

#include <cstdint>
#include <span>

#include "comm/trust/machine_snapshot.h"
#include "device/device.h"

namespace tandem {

/// What calibrate() measures.
std::span<const Collective> calibrated_ops();
std::span<const std::int64_t> calibrated_sizes();  ///< bytes of the whole tensor

/// Measures every operation over the sizes of models' messages on each back-end that can serve this group (why_not),
/// and replaces MachineSnapshot::calls. A back-end that fails is marked in MachineSnapshot::backends. Seconds, most of
/// them NCCL's set-up. `devices` are those of `machine`, GPUs.
void calibrate(std::span<const Device> devices, MachineSnapshot& machine);

}  // namespace tandem
