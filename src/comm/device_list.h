#pragma once
// The devices of a group's ranks, from what a user wrote.

#include <span>
#include <string>
#include <vector>

#include "device/device.h"

namespace tandem {

/// `names` ("cpu", "cpu:1", "0", "cuda:0", a UUID or PCI address), one a rank, or none; tp_size 0 takes as many ranks
/// as names, else 1. One "cpu" stands for any number of CPU ranks. Throws kInvalidArgument for a name that is no
/// device, one that is there twice, a world size outside 1 to 16 or one that differs from the number of names;
/// kNotFound for a GPU that is not there; kUnsupported for any GPU in a build without CUDA.
std::vector<Device> parse_devices(std::span<const std::string> names, int tp_size);

}  // namespace tandem
