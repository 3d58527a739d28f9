#include "comm/trust/facts.h"

#include <algorithm>

#include "base/error.h"
#include "comm/nccl/nccl_api.h"
#include "device/cuda/runtime.h"

namespace tandem {
namespace {

BackendFacts find_nccl() {
  if constexpr (kBuiltWithCuda) {
    try {
      const NcclApi& api = nccl();
      return {.name = "nccl", .works = true, .detail = nccl_version_text(api.version_code)};
    } catch (const Error& error) {
      std::string reason = error.what();
      std::replace(reason.begin(), reason.end(), '\n', ' ');
      return {.name = "nccl", .works = false, .detail = reason};
    }
  } else {
    return {.name = "nccl", .works = false, .detail = "this build has no CUDA"};
  }
}

void add_gpus(std::span<const Device> devices, MachineSnapshot& machine) {
  if constexpr (kBuiltWithCuda) {
    for (const Device device : devices) {
      const cuda::DeviceInfo info = cuda::device_info(device.index);
      machine.gpus.push_back({.index = device.index,
                              .name = info.name,
                              .uuid = info.uuid,
                              .pci_address = info.pci_address,
                              .major = info.major,
                              .minor = info.minor,
                              .num_sms = info.num_sms,
                              .memory_bytes = info.total_bytes});
    }
    const auto num_gpus = static_cast<int>(devices.size());
    for (int from = 0; from < num_gpus; ++from) {
      for (int to = 0; to < num_gpus; ++to) {
        if (from == to) continue;
        const int a = devices[static_cast<std::size_t>(from)].index, b = devices[static_cast<std::size_t>(to)].index;
        machine.pairs.push_back({.from = from, .to = to, .can_access = a == b || cuda::can_access_peer(a, b)});
      }
    }
  }
}

}  // namespace

MachineSnapshot gather_facts(std::span<const Device> devices) {
  MachineSnapshot machine;
  const auto num_cpus = std::count_if(devices.begin(), devices.end(), [](Device d) { return d.is_cpu(); });
  TANDEM_CHECK(num_cpus == 0 || num_cpus == static_cast<std::ptrdiff_t>(devices.size()), "{} of {} devices are CPUs",
               num_cpus, devices.size());
  if (num_cpus > 0) {
    machine.backends = {{.name = "cpu", .works = true}};
    machine.no_gpus = "this build has no CUDA";
    if constexpr (kBuiltWithCuda) {
      machine.no_gpus.clear();
      cuda::num_devices(&machine.no_gpus);
    }
    return machine;
  }
  TANDEM_CHECK(kBuiltWithCuda, "facts of {} GPUs in a build without CUDA", devices.size());
  add_gpus(devices, machine);
  add_nvml_facts(machine);
  machine.backends = {find_nccl(), {.name = "native", .works = true}};
  return machine;
}

void add_nvml_facts(MachineSnapshot& machine, const std::string& nvml_file) {
  try {
    const Nvml nvml(nvml_file);
    machine.driver = nvml.driver_version();
    for (GpuFacts& gpu : machine.gpus) gpu.is_mig = gpu.is_mig || nvml.is_mig(gpu.pci_address);
    for (PairFacts& pair : machine.pairs) {
      const std::string& from = machine.gpus[static_cast<std::size_t>(pair.from)].pci_address;
      const std::string& to = machine.gpus[static_cast<std::size_t>(pair.to)].pci_address;
      if (from == to) continue;
      pair.link = nvml.link(from, to);
      pair.p2p_status = nvml.p2p_status(from, to);
    }
  } catch (const Error& error) {
    machine.no_nvml = error.what();
  }
}

}  // namespace tandem
