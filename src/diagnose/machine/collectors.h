#pragma once
// The parts of gather_machine_facts().

#include <map>
#include <string>
#include <vector>

#include "diagnose/machine/machine_facts.h"
#include "diagnose/machine/system_files.h"

namespace tandem {

using Environment = std::map<std::string, std::string>;

void collect_host(const SystemFiles& files, const Environment& environment, HostFacts& host);
std::vector<DeviceNode> collect_device_nodes(const SystemFiles& files);
/// What the kernel's part of the driver says of itself.
void collect_driver(const SystemFiles& files, DriverFacts& driver);
/// CUDA and NCCL as this process finds them. Changes the environment, as NCCL's loader does.
void collect_libraries(const SystemFiles& files, DriverFacts& driver);
std::vector<PciDevice> collect_pci(const SystemFiles& files);
std::optional<std::vector<XidEvent>> collect_xids(const SystemFiles& files);
/// GPUs as the management library in `nvml_file` shows them.
void collect_gpus(const SystemFiles& files, const std::string& nvml_file, MachineFacts& facts);

}  // namespace tandem
