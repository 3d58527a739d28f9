// A library with NVML's functions for tests: four GPUs at 0000:10:00.0 to 0000:40:00.0, joined as FAKE_NVML says.
//   switch   18 links each to NVSwitches, one of them down
//   hidden   the same, and the driver hides what is at the links' other end
//   bridges  four links between the first two and between the last two; PCIe between the pairs
//   pcie     none; GPU 0 and 1 below one PCIe switch
//   mig      GPU 0 is cut into slices
//   broken   does not start
//   lost     as pcie; GPU 1 has fallen off the bus, and GPU 2 does so once its name was told
// With FAKE_NVML_OLD the library lacks what the oldest drivers lack.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

constexpr int kSuccess = 0, kUninitialized = 1, kInvalidArgument = 2, kNotSupported = 3, kNotFound = 6,
              kInsufficientSize = 7, kGpuIsLost = 15;

struct Gpu {
  unsigned bus;
};
Gpu gpus[] = {{0x10}, {0x20}, {0x30}, {0x40}};

int index_of(const Gpu* gpu) {
  return static_cast<int>(gpu - gpus);
}
bool neighbours(const Gpu* a, const Gpu* b) {
  return index_of(a) / 2 == index_of(b) / 2;
}

bool is(std::string_view what) {
  const char* machine = std::getenv("FAKE_NVML");
  return machine != nullptr && machine == what;
}
bool has_switch() {
  return is("switch") || is("hidden");
}

struct PciInfo {
  char legacy[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char bus_id[32];
};
struct Memory {
  unsigned long long total, free, used;
};
struct Process {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance, compute_instance;
};
struct AddressingMode {
  unsigned version, value;
};
struct Fabric {
  unsigned char cluster[16];
  int status;
  unsigned clique;
  unsigned char state;
};

}  // namespace

extern "C" {

int nvmlInit_v2() {
  return is("broken") ? kUninitialized : kSuccess;
}
int nvmlShutdown() {
  return kSuccess;
}
const char* nvmlErrorString(int error) {
  switch (error) {
    case kNotSupported:
      return "Not Supported";
    case kInsufficientSize:
      return "Insufficient Size";
    case kGpuIsLost:
      return "GPU is lost";
    default:
      return "driver not loaded";
  }
}
int nvmlSystemGetDriverVersion(char* text, unsigned length) {
  std::snprintf(text, length, "999.1");
  return kSuccess;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* address, Gpu** gpu) {
  unsigned domain = 0, bus = 0;
  std::sscanf(address, "%x:%x", &domain, &bus);
  for (Gpu& g : gpus) {
    if (g.bus == bus && domain == 0) {
      *gpu = &g;
      return kSuccess;
    }
  }
  return kNotFound;
}
int nvmlDeviceGetTopologyCommonAncestor(const Gpu* a, const Gpu* b, int* level) {
  *level = neighbours(a, b) ? 10 : 50;
  return kSuccess;
}
int nvmlDeviceGetNvLinkState(const Gpu*, unsigned link, int* active) {
  if (link >= (has_switch() ? 18 : 4)) return kInvalidArgument;
  if (is("pcie") || is("mig") || is("lost")) return kNotSupported;
  *active = has_switch() && link == 7 ? 0 : 1;
  return kSuccess;
}
int nvmlDeviceGetNvLinkRemotePciInfo_v2(const Gpu* gpu, unsigned, PciInfo* remote) {
  if (is("hidden")) return kNotSupported;
  *remote = {};
  remote->bus = is("switch") ? 0xc0 : gpus[index_of(gpu) ^ 1].bus;
  return kSuccess;
}
int nvmlDeviceGetP2PStatus(const Gpu* a, const Gpu* b, int caps, int* status) {
  constexpr int kNvLink = 2;
  const bool linked = has_switch() || (is("bridges") && neighbours(a, b));
  *status = linked ? 0 : caps == kNvLink ? 5 : 1;
  return kSuccess;
}
int nvmlDeviceGetMigMode(const Gpu* gpu, unsigned* current, unsigned* pending) {
  if (!is("mig")) return kNotSupported;
  *current = *pending = index_of(gpu) == 0 ? 1 : 0;
  return kSuccess;
}

// GPU i differs from its neighbours by i in most of what follows.
int nvmlSystemGetCudaDriverVersion_v2(int* version) {
  *version = 13010;
  return kSuccess;
}
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 4;
  return kSuccess;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu** gpu) {
  if (index >= 4) return kInvalidArgument;
  if (is("lost") && index == 1) return kGpuIsLost;
  *gpu = &gpus[index];
  return kSuccess;
}
int nvmlDeviceGetPciInfo_v3(const Gpu* gpu, PciInfo* info) {
  *info = {};
  info->bus = gpu->bus;
  return kSuccess;
}
int nvmlDeviceGetName(const Gpu* gpu, char* text, unsigned length) {
  std::snprintf(text, length, "Fake GPU %d", index_of(gpu));
  return kSuccess;
}
int nvmlDeviceGetUUID(const Gpu* gpu, char* text, unsigned length) {
  if (is("lost") && index_of(gpu) == 2) return kGpuIsLost;
  std::snprintf(text, length, "GPU-00000000-0000-0000-0000-00000000000%d", index_of(gpu));
  return kSuccess;
}
int nvmlDeviceGetCudaComputeCapability(const Gpu* gpu, int* major, int* minor) {
  *major = 9;
  *minor = index_of(gpu);
  return kSuccess;
}
int nvmlDeviceGetMemoryInfo(const Gpu* gpu, Memory* memory) {
  *memory = {64ull << 30, 60ull << 30, (4ull << 30) + static_cast<unsigned>(index_of(gpu))};
  return kSuccess;
}
int nvmlDeviceGetBAR1MemoryInfo(const Gpu*, Memory* memory) {
  *memory = {256ull << 20, 255ull << 20, 1ull << 20};
  return kSuccess;
}
int nvmlDeviceGetDisplayActive(const Gpu* gpu, int* state) {
  *state = index_of(gpu) == 0;
  return kSuccess;
}
int nvmlDeviceGetPersistenceMode(const Gpu*, int* state) {
  *state = 1;
  return kSuccess;
}
int nvmlDeviceGetComputeMode(const Gpu* gpu, int* mode) {
  *mode = index_of(gpu);
  return kSuccess;
}
int nvmlDeviceGetVirtualizationMode(const Gpu* gpu, int* mode) {
  *mode = index_of(gpu);
  return kSuccess;
}
int nvmlDeviceGetPowerUsage(const Gpu* gpu, unsigned* milliwatts) {
  *milliwatts = 100500 + static_cast<unsigned>(index_of(gpu));
  return kSuccess;
}
int nvmlDeviceGetEnforcedPowerLimit(const Gpu*, unsigned* milliwatts) {
  *milliwatts = 350000;
  return kSuccess;
}
int nvmlDeviceGetPowerManagementLimitConstraints(const Gpu*, unsigned* least, unsigned* most) {
  *least = 100000;
  *most = 700000;
  return kSuccess;
}
int nvmlDeviceGetTemperature(const Gpu* gpu, int sensor, unsigned* celsius) {
  *celsius = 40 + static_cast<unsigned>(index_of(gpu));
  return sensor == 0 ? kSuccess : kInvalidArgument;
}
int nvmlDeviceGetTemperatureThreshold(const Gpu*, int threshold, unsigned* celsius) {
  *celsius = 87;
  return threshold == 1 ? kSuccess : kInvalidArgument;
}
int nvmlDeviceGetClockInfo(const Gpu*, int clock, unsigned* mhz) {
  *mhz = 345;
  return clock == 1 ? kSuccess : kInvalidArgument;
}
int nvmlDeviceGetMaxClockInfo(const Gpu*, int clock, unsigned* mhz) {
  *mhz = 1980;
  return clock == 1 ? kSuccess : kInvalidArgument;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(const Gpu* gpu, unsigned long long* reasons) {
  *reasons = index_of(gpu) == 0 ? 0x1 : index_of(gpu) == 1 ? 0x44 : 0x400001ffull;
  return kSuccess;
}
int nvmlDeviceGetCurrPcieLinkGeneration(const Gpu*, unsigned* generation) {
  *generation = 1;
  return kSuccess;
}
int nvmlDeviceGetMaxPcieLinkGeneration(const Gpu*, unsigned* generation) {
  *generation = 5;
  return kSuccess;
}
int nvmlDeviceGetCurrPcieLinkWidth(const Gpu*, unsigned* width) {
  *width = 8;
  return kSuccess;
}
int nvmlDeviceGetMaxPcieLinkWidth(const Gpu*, unsigned* width) {
  *width = 16;
  return kSuccess;
}
int nvmlDeviceGetPcieReplayCounter(const Gpu* gpu, unsigned* replays) {
  *replays = static_cast<unsigned>(index_of(gpu));
  return kSuccess;
}
int nvmlDeviceGetEccMode(const Gpu*, int* current, int* pending) {
  *current = 1;
  *pending = 0;
  return kSuccess;
}
int nvmlDeviceGetTotalEccErrors(const Gpu* gpu, int type, int counter, unsigned long long* errors) {
  *errors = static_cast<unsigned>(index_of(gpu));
  return type == 1 && counter == 0 ? kSuccess : kInvalidArgument;
}
int nvmlDeviceGetNvLinkVersion(const Gpu*, unsigned, unsigned* version) {
  *version = 6;  // NVLink 4
  return kSuccess;
}
int nvmlDeviceGetNvLinkErrorCounter(const Gpu*, unsigned link, int counter, unsigned long long* errors) {
  *errors = link == 2 ? 1ull << counter : 0;
  return counter < 4 ? kSuccess : kInvalidArgument;
}
#if !defined(FAKE_NVML_OLD)
int nvmlDeviceGetRemappedRows(const Gpu* gpu, unsigned* corrected, unsigned* uncorrected, unsigned* pending,
                              unsigned* failed) {
  *corrected = *uncorrected = *failed = 0;
  *pending = index_of(gpu) == 3;
  return kSuccess;
}
int nvmlDeviceGetAddressingMode(const Gpu*, AddressingMode* mode) {
  if (mode->version != 0x1000008) return kInvalidArgument;
  mode->value = 1;
  return kSuccess;
}
int nvmlDeviceGetComputeRunningProcesses_v3(const Gpu* gpu, unsigned* count, Process* processes) {
  const unsigned all = index_of(gpu) == 0 ? 2 : index_of(gpu) == 3 ? 100'000 : 0;
  if (all > *count) return kInsufficientSize;
  *count = all;
  if (all == 2) {
    processes[0] = {static_cast<unsigned>(getpid()), 5ull << 20, 0, 0};
    processes[1] = {4'000'000'000, ~0ull, 0, 0};
  }
  return kSuccess;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(const Gpu* gpu, unsigned* count, Process* processes) {
  *count = index_of(gpu) == 0 ? 1 : 0;
  if (*count == 1) processes[0] = {4'000'000'000, 7ull << 20, 0, 0};
  return kSuccess;
}
int nvmlDeviceGetGpuFabricInfo(const Gpu*, Fabric* fabric) {
  if (!has_switch()) return kNotSupported;
  *fabric = {{}, 0, 0, 2};
  return kSuccess;
}
#endif

}  // extern "C"
