#pragma once
// The fields of machine facts, each named once, for those who write, read or change them all.

#include <concepts>
#include <type_traits>

#include "diagnose/machine/machine_facts.h"

namespace tandem {

// each_field(visit, facts) calls visit(name, field) and, of integers that may be negative, visit(name, field, least).

template <class T, class Facts>
concept Some = std::same_as<std::remove_const_t<T>, Facts>;

void each_field(auto& visit, Some<Unread> auto& unread) {
  visit("source", unread.source);
  visit("reason", unread.reason);
}

void each_field(auto& visit, Some<DeviceNode> auto& node) {
  visit("path", node.path);
  visit("exists", node.exists);
  visit("usable", node.usable);
  visit("mode", node.mode);
  visit("group", node.group);
}

void each_field(auto& visit, Some<HostFacts> auto& host) {
  visit("os", host.os);
  visit("kernel", host.kernel);
  visit("hypervisor", host.hypervisor);
  visit("wsl", host.wsl);
  visit("container", host.container);
  visit("cpus", host.cpus);
  visit("sockets", host.sockets);
  visit("numa_nodes", host.numa_nodes);
  visit("memory_bytes", host.memory_bytes);
  visit("available_memory_bytes", host.available_memory_bytes);
  visit("load_average", host.load_average);
  visit("memlock_bytes", host.memlock_bytes);
  visit("shm_bytes", host.shm_bytes);
  visit("free_shm_bytes", host.free_shm_bytes);
  visit("kernel_options", host.kernel_options);
  visit("iommu_active", host.iommu_active);
  visit("kernel_modules", host.kernel_modules);
  visit("environment", host.environment);
  visit("device_nodes", host.device_nodes);
}

void each_field(auto& visit, Some<DriverFacts> auto& driver) {
  visit("version", driver.version);
  visit("flavour", driver.flavour);
  visit("cuda_version", driver.cuda_version);
  visit("built_for_cuda", driver.built_for_cuda);
  visit("parameters", driver.parameters);
  visit("nccl_found", driver.nccl_found);
  visit("nccl", driver.nccl);
  visit("no_cuda", driver.no_cuda);
  visit("no_nvml", driver.no_nvml);
}

void each_field(auto& visit, Some<PciDevice> auto& device) {
  visit("address", device.address);
  visit("vendor", device.vendor);
  visit("device", device.device);
  visit("kind", device.kind);
  visit("driver", device.driver);
  visit("parent", device.parent);
  visit("link_gts", device.link_gts);
  visit("max_link_gts", device.max_link_gts);
  visit("link_width", device.link_width);
  visit("max_link_width", device.max_link_width);
  visit("numa_node", device.numa_node, -1);
  visit("iommu_group", device.iommu_group);
  visit("iommu_group_type", device.iommu_group_type);
  visit("bar1_bytes", device.bar1_bytes);
  visit("acs_redirects", device.acs_redirects);
  visit("answers", device.answers);
}

void each_field(auto& visit, Some<NvLink> auto& link) {
  visit("active", link.active);
  visit("version", link.version);
  visit("remote", link.remote);
  visit("errors", link.errors);
}

void each_field(auto& visit, Some<GpuProcess> auto& process) {
  visit("pid", process.pid);
  visit("ours", process.ours);
  visit("memory_bytes", process.memory_bytes);
}

void each_field(auto& visit, Some<GpuHealth> auto& gpu) {
  visit("pci_address", gpu.pci_address);
  visit("name", gpu.name);
  visit("uuid", gpu.uuid);
  visit("compute_capability", gpu.compute_capability);
  visit("index", gpu.index);
  visit("memory_bytes", gpu.memory_bytes);
  visit("used_memory_bytes", gpu.used_memory_bytes);
  visit("bar1_bytes", gpu.bar1_bytes);
  visit("used_bar1_bytes", gpu.used_bar1_bytes);
  visit("mig", gpu.mig);
  visit("display_active", gpu.display_active);
  visit("persistence", gpu.persistence);
  visit("compute_mode", gpu.compute_mode);
  visit("virtualization", gpu.virtualization);
  visit("addressing_mode", gpu.addressing_mode);
  visit("watts", gpu.watts);
  visit("limit_watts", gpu.limit_watts);
  visit("max_limit_watts", gpu.max_limit_watts);
  visit("celsius", gpu.celsius, -273);
  visit("slowdown_celsius", gpu.slowdown_celsius, -273);
  visit("sm_mhz", gpu.sm_mhz);
  visit("max_sm_mhz", gpu.max_sm_mhz);
  visit("throttle_reasons", gpu.throttle_reasons);
  visit("pcie_generation", gpu.pcie_generation);
  visit("max_pcie_generation", gpu.max_pcie_generation);
  visit("pcie_width", gpu.pcie_width);
  visit("max_pcie_width", gpu.max_pcie_width);
  visit("pcie_replays", gpu.pcie_replays);
  visit("ecc", gpu.ecc);
  visit("uncorrected_ecc_errors", gpu.uncorrected_ecc_errors);
  visit("pending_row_remap", gpu.pending_row_remap);
  visit("nvlinks", gpu.nvlinks);
  visit("fabric_state", gpu.fabric_state);
  visit("processes", gpu.processes);
}

void each_field(auto& visit, Some<XidEvent> auto& event) {
  visit("pci_address", event.pci_address);
  visit("code", event.code);
  visit("times", event.times);
}

/// All but `fabric`, which is the rest of the file: what version 1 has.
void each_field(auto& visit, Some<MachineFacts> auto& facts) {
  visit("host", facts.host);
  visit("driver_facts", facts.driver);
  visit("pci", facts.pci);
  visit("gpu_health", facts.gpus);
  visit("xids", facts.xids);
  visit("supply_watts", facts.supply_watts);
  visit("unread", facts.unread);
  visit("composed", facts.composed);
}

}  // namespace tandem
