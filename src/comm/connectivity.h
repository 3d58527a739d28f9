#pragma once
// Whether GPUs reach each other's memory: each ordered pair, verified.

#include <optional>
#include <span>
#include <vector>

#include "comm/trust/choice.h"
#include "comm/trust/machine_snapshot.h"
#include "device/device.h"

namespace tandem {

/// True: every ordered pair was verified, so that p2p can serve.
struct P2pConnectivity {
  MachineSnapshot machine = {};                     ///< the GPUs, and of each ordered pair link, access and probe
  std::optional<Rejection> why_not = std::nullopt;  ///< the reason's code, and each pair that fails
  explicit operator bool() const { return !why_not; }
};

/// Looks at the pairs, and where the driver claims access, verifies them on the GPUs. No devices and one device are
/// connected. CPUs are not. Throws kInvalidArgument for a device that is listed twice, numbers that are none, GPUs
/// beside CPUs, and more than 16; kNotFound for a GPU that is not there; kUnsupported where no GPU can be used.
P2pConnectivity check_p2p_connectivity(std::span<const Device> devices);
/// The same for GPUs by number.
P2pConnectivity check_p2p_connectivity(const std::vector<int>& gpus);

}  // namespace tandem
