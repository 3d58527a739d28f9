#pragma once
// The devices that a look at the machine is about.

#include <vector>

#include "cli/settings.h"
#include "device/device.h"

namespace tandem::cli {

/// Those of --devices and --tp; without them all GPUs, and where there is none, CPU ranks. Throws kInvalidArgument.
std::vector<Device> devices_to_check(const Settings& settings);

}  // namespace tandem::cli
