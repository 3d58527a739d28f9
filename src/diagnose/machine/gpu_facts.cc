// What NVML tells of each GPU. Drivers differ in the functions that they have and GPUs in those that they answer: each
// answer stands for itself.
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "device/cuda/nvml.h"
#include "device/cuda/runtime.h"
#include "device/device.h"
#include "diagnose/machine/collectors.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxGpus = 1024, kMaxProcesses = 1024;

std::string address_of(const NvmlPciInfo& pci) {
  return format("{:04x}:{:02x}:{:02x}.0", pci.domain, pci.bus, pci.device);
}

/// Asks about one GPU, and notes what gets no answer.
class Questions {
 public:
  Questions(const Nvml& nvml, const SystemFiles& files, NvmlGpu gpu, std::string name)
      : nvml_(nvml), files_(files), gpu_(gpu), name_(std::move(name)) {}

  template <class... A>
  NvmlResult result_of(const char* function, A... arguments) const {
    return lost_ ? NvmlResult::kGpuIsLost : nvml_.call(function, gpu_, arguments...);
  }

  // A lost GPU answers nothing more: it is noted once.
  bool answered(const char* function, NvmlResult result) {
    if (result == NvmlResult::kSuccess) return true;
    if (!lost_) files_.note(format("{} of {}", function, name_), nvml_.explain(result));
    lost_ = lost_ || result == NvmlResult::kGpuIsLost;
    return false;
  }

  template <class... A>
  bool ask(const char* function, A... arguments) {
    return answered(function, result_of(function, arguments...));
  }

  /// The function's last argument; the others stand before it.
  template <class T, class... A>
  std::optional<T> value(const char* function, A... before) {
    T answer{};
    return ask(function, before..., &answer) ? std::optional(answer) : std::nullopt;
  }

  std::optional<int> count(const char* function, auto... before) {
    const std::optional<unsigned> answer = value<unsigned>(function, before...);
    return answer && *answer <= 1u << 30 ? std::optional(static_cast<int>(*answer)) : std::nullopt;
  }

  std::optional<bool> enabled(const char* function) {
    const std::optional<int> state = value<int>(function);
    return state ? std::optional(*state == kNvmlEnabled) : std::nullopt;
  }

  std::optional<double> watts(const char* function) {
    const std::optional<unsigned> milliwatts = value<unsigned>(function);
    return milliwatts ? std::optional(*milliwatts / 1e3) : std::nullopt;
  }

  std::string text(const char* function) {
    std::array<char, 96> answer{};
    const bool known = ask(function, answer.data(), static_cast<unsigned>(answer.size()));
    answer.back() = '\0';
    return known ? answer.data() : "";
  }

  template <std::size_t n>
  std::string named(const char* function, const std::array<const char*, n>& names) {
    const std::optional<unsigned> answer = value<unsigned>(function);
    return answer && *answer < n ? names[*answer] : "";
  }

 private:
  const Nvml& nvml_;
  const SystemFiles& files_;
  NvmlGpu gpu_;
  std::string name_;
  bool lost_ = false;
};

std::vector<std::string> throttle_reasons(unsigned long long bits) {
  constexpr std::array kNames = {"",
                                 "applications-clocks",
                                 "sw-power-cap",
                                 "hw-slowdown",
                                 "sync-boost",
                                 "sw-thermal-slowdown",
                                 "hw-thermal-slowdown",
                                 "hw-power-brake-slowdown",
                                 "display-clocks"};
  std::vector<std::string> reasons;
  for (std::size_t bit = 1; bit < kNames.size(); ++bit) {  // bit 0: the GPU idles
    if ((bits >> bit & 1) != 0) reasons.emplace_back(kNames[bit]);
  }
  return reasons;
}

void ask_memory(Questions& gpu, GpuHealth& health) {
  if (const auto memory = gpu.value<NvmlMemory>("nvmlDeviceGetMemoryInfo")) {
    health.memory_bytes = memory->total;
    health.used_memory_bytes = memory->used;
  }
  if (const auto bar1 = gpu.value<NvmlMemory>("nvmlDeviceGetBAR1MemoryInfo")) {
    health.bar1_bytes = bar1->total;
    health.used_bar1_bytes = bar1->used;
  }
  int ecc = 0, pending_ecc = 0;
  if (gpu.ask("nvmlDeviceGetEccMode", &ecc, &pending_ecc)) health.ecc = ecc == kNvmlEnabled;
  if (health.ecc.value_or(false)) {
    health.uncorrected_ecc_errors =
        gpu.value<unsigned long long>("nvmlDeviceGetTotalEccErrors", kNvmlUncorrected, kNvmlVolatile);
  }
  unsigned corrected = 0, uncorrected = 0, pending = 0, failed = 0;
  if (gpu.ask("nvmlDeviceGetRemappedRows", &corrected, &uncorrected, &pending, &failed)) {
    health.pending_row_remap = pending != 0;
  }
}

void ask_modes(Questions& gpu, GpuHealth& health) {
  unsigned mig = 0, pending_mig = 0;
  const NvmlResult result = gpu.result_of("nvmlDeviceGetMigMode", &mig, &pending_mig);
  if (result == NvmlResult::kNotSupported) {
    health.mig = false;  // it cannot be cut
  } else if (gpu.answered("nvmlDeviceGetMigMode", result)) {
    health.mig = mig == kNvmlEnabled;
  }
  health.display_active = gpu.enabled("nvmlDeviceGetDisplayActive");
  health.persistence = gpu.enabled("nvmlDeviceGetPersistenceMode");
  health.compute_mode = gpu.named("nvmlDeviceGetComputeMode",
                                  std::array{"default", "exclusive-thread", "prohibited", "exclusive-process"});
  health.virtualization =
      gpu.named("nvmlDeviceGetVirtualizationMode", std::array{"none", "passthrough", "vgpu", "host-vgpu", "host-vsga"});
  NvmlAddressingMode addressing;
  if (gpu.ask("nvmlDeviceGetAddressingMode", &addressing) && addressing.value < 3) {
    health.addressing_mode = std::array{"none", "hmm", "ats"}[addressing.value];
  }
}

void ask_power_and_clocks(Questions& gpu, GpuHealth& health) {
  health.watts = gpu.watts("nvmlDeviceGetPowerUsage");
  health.limit_watts = gpu.watts("nvmlDeviceGetEnforcedPowerLimit");
  unsigned least = 0, most = 0;
  if (gpu.ask("nvmlDeviceGetPowerManagementLimitConstraints", &least, &most)) health.max_limit_watts = most / 1e3;
  health.celsius = gpu.count("nvmlDeviceGetTemperature", kNvmlTemperatureOfGpu);
  health.slowdown_celsius = gpu.count("nvmlDeviceGetTemperatureThreshold", kNvmlSlowdownTemperature);
  health.sm_mhz = gpu.count("nvmlDeviceGetClockInfo", kNvmlSmClock);
  health.max_sm_mhz = gpu.count("nvmlDeviceGetMaxClockInfo", kNvmlSmClock);
  const auto reasons = gpu.value<unsigned long long>("nvmlDeviceGetCurrentClocksThrottleReasons");
  health.throttle_reasons = throttle_reasons(reasons.value_or(0));
}

void ask_pcie(Questions& gpu, GpuHealth& health) {
  health.pcie_generation = gpu.count("nvmlDeviceGetCurrPcieLinkGeneration");
  health.max_pcie_generation = gpu.count("nvmlDeviceGetMaxPcieLinkGeneration");
  health.pcie_width = gpu.count("nvmlDeviceGetCurrPcieLinkWidth");
  health.max_pcie_width = gpu.count("nvmlDeviceGetMaxPcieLinkWidth");
  health.pcie_replays = gpu.value<unsigned>("nvmlDeviceGetPcieReplayCounter");
}

// Only those that the GPU has. Links that are down tell no version and no remote end, and newer GPUs count errors
// elsewhere: that is not noted, it would be a line for each link.
void ask_nvlinks(Questions& gpu, GpuHealth& health) {
  constexpr std::array kVersions = {0, 1, 2, 2, 3, 3, 4, 5, 6};  // by nvmlNvlinkVersion_t: 2.0 and 2.2, 3.0 and 3.1
  for (unsigned link = 0; link < kNvmlMaxLinks; ++link) {
    int state = 0;
    const NvmlResult result = gpu.result_of("nvmlDeviceGetNvLinkState", link, &state);
    if (result == NvmlResult::kInvalidArgument) return;
    if (result == NvmlResult::kNotSupported) continue;
    if (!gpu.answered("nvmlDeviceGetNvLinkState", result)) return;
    NvLink found{.active = state == kNvmlEnabled};
    unsigned version = 0;
    if (gpu.result_of("nvmlDeviceGetNvLinkVersion", link, &version) == NvmlResult::kSuccess && version > 0 &&
        version < kVersions.size()) {
      found.version = kVersions[version];
    }
    NvmlPciInfo remote{};
    if (gpu.result_of("nvmlDeviceGetNvLinkRemotePciInfo_v2", link, &remote) == NvmlResult::kSuccess) {
      found.remote = address_of(remote);
    }
    for (const int counter : kNvmlLinkErrors) {
      unsigned long long errors = 0;
      if (gpu.result_of("nvmlDeviceGetNvLinkErrorCounter", link, counter, &errors) == NvmlResult::kSuccess) {
        found.errors = found.errors.value_or(0) + errors;
      }
    }
    health.nvlinks.push_back(std::move(found));
  }
}

void ask_fabric(Questions& gpu, GpuHealth& health) {
  NvmlFabric fabric{};
  const NvmlResult result = gpu.result_of("nvmlDeviceGetGpuFabricInfo", &fabric);
  if (result == NvmlResult::kNotSupported || !gpu.answered("nvmlDeviceGetGpuFabricInfo", result)) return;
  constexpr std::array kStates = {"", "not-started", "in-progress", "completed"};
  if (fabric.state < kStates.size()) health.fabric_state = kStates[fabric.state];
}

// Of those with a context for computing and those with one for graphics; a process may have both.
void ask_processes(Questions& gpu, GpuHealth& health) {
  constexpr unsigned long long kNotKnown = ~0ull;
  for (const char* function : {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3"}) {
    std::vector<NvmlProcess> found(kMaxProcesses);
    auto count = static_cast<unsigned>(found.size());
    if (!gpu.ask(function, &count, found.data())) continue;
    found.resize(std::min<std::size_t>(count, found.size()));
    for (const NvmlProcess& process : found) {
      auto known = std::find_if(health.processes.begin(), health.processes.end(),
                                [&](const GpuProcess& p) { return p.pid == process.pid; });
      if (known == health.processes.end()) {
        const bool ours = process.pid == static_cast<std::uint32_t>(getpid());
        known = health.processes.insert(known, {.pid = process.pid, .ours = ours});
      }
      if (process.used_memory != kNotKnown) {
        known->memory_bytes = std::max<std::uint64_t>(known->memory_bytes.value_or(0), process.used_memory);
      }
    }
  }
}

GpuHealth health_of(Questions& gpu, const std::string& address) {
  GpuHealth health{
      .pci_address = address, .name = gpu.text("nvmlDeviceGetName"), .uuid = gpu.text("nvmlDeviceGetUUID")};
  int major = 0, minor = 0;
  if (gpu.ask("nvmlDeviceGetCudaComputeCapability", &major, &minor)) {
    health.compute_capability = format("{}.{}", major, minor);
  }
  ask_memory(gpu, health);
  ask_modes(gpu, health);
  ask_power_and_clocks(gpu, health);
  ask_pcie(gpu, health);
  ask_nvlinks(gpu, health);
  ask_fabric(gpu, health);
  ask_processes(gpu, health);
  return health;
}

void number_as_cuda_does(const SystemFiles& files, std::vector<GpuHealth>& gpus) {
  if constexpr (kBuiltWithCuda) {
    try {
      for (int i = cuda::num_devices() - 1; i >= 0; --i) {  // the first of several slices of a GPU names it
        const cuda::DeviceInfo info = cuda::device_info(i);
        for (GpuHealth& gpu : gpus) {
          if (info.is_named(gpu.pci_address) || info.is_named(gpu.uuid)) gpu.index = i;
        }
      }
    } catch (const Error& error) {
      files.note("CUDA's numbers of the GPUs", error.what());
    }
  }
}

}  // namespace

void collect_gpus(const SystemFiles& files, const std::string& nvml_file, MachineFacts& facts) {
  if (nvml_file.empty() && !files.is_ours()) {
    facts.driver.no_nvml = "not asked: the facts are of another root";
    return;
  }
  try {
    const Nvml nvml(nvml_file.empty() ? Nvml::kFileName : nvml_file);
    if (const std::string version = nvml.driver_version(); !version.empty()) facts.driver.version = version;
    int cuda_version = 0;
    if (facts.driver.cuda_version.empty() &&
        nvml.call("nvmlSystemGetCudaDriverVersion_v2", &cuda_version) == NvmlResult::kSuccess) {
      facts.driver.cuda_version = format("{}.{}", cuda_version / 1000, cuda_version % 1000 / 10);
    }
    unsigned count = 0;
    if (const NvmlResult result = nvml.call("nvmlDeviceGetCount_v2", &count); result != NvmlResult::kSuccess) {
      facts.driver.no_nvml = format("nvmlDeviceGetCount_v2: {}", nvml.explain(result));
      return;
    }
    for (unsigned i = 0; i < std::min<std::size_t>(count, kMaxGpus); ++i) {
      NvmlGpu handle = nullptr;
      const NvmlResult result = nvml.call("nvmlDeviceGetHandleByIndex_v2", i, &handle);
      if (result != NvmlResult::kSuccess) {
        files.note(format("nvmlDeviceGetHandleByIndex_v2 of NVML's GPU {}", i), nvml.explain(result));
        continue;
      }
      NvmlPciInfo pci{};
      Questions unnamed(nvml, files, handle, format("NVML's GPU {}", i));
      const std::string address = unnamed.ask("nvmlDeviceGetPciInfo_v3", &pci) ? address_of(pci) : "";
      Questions gpu(nvml, files, handle, address.empty() ? format("NVML's GPU {}", i) : address);
      facts.gpus.push_back(health_of(gpu, address));
    }
    if (files.is_ours()) number_as_cuda_does(files, facts.gpus);
  } catch (const Error& error) {
    facts.driver.no_nvml = error.what();
  }
}

}  // namespace tandem
