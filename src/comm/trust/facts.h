#pragma once
// What others tell of a machine: CUDA, NVML, the loader that looks for NCCL. Costs milliseconds and uses no GPU.

#include <span>
#include <string>

#include "comm/trust/machine_snapshot.h"
#include "device/cuda/nvml.h"
#include "device/device.h"

namespace tandem {

/// Of the devices of a group, all CPUs or all GPUs that exist: everything but probes and measured calls. What cannot be
/// asked is left empty, with the reason where there is a field for it. GPUs are matched by PCI address, whatever
/// CUDA_VISIBLE_DEVICES makes of their numbers.
MachineSnapshot gather_facts(std::span<const Device> devices);

/// The part that NVML knows, for GPUs that are in the snapshot already: driver, slices, links. Without NVML only
/// `no_nvml` is set.
void add_nvml_facts(MachineSnapshot& machine, const std::string& nvml_file = Nvml::kFileName);

}  // namespace tandem
