// A library with NVML's functions for tests: four GPUs at 0000:10:00.0 to 0000:40:00.0, joined as FAKE_NVML says.
//   switch   18 links each to NVSwitches, one of them down
//   hidden   the same, and the driver hides what is at the links' other end
//   bridges  four links between the first two and between the last two; PCIe between the pairs
//   pcie     none; GPU 0 and 1 below one PCIe switch
//   mig      GPU 0 is cut into slices
//   broken   does not start
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

constexpr int kSuccess = 0, kUninitialized = 1, kInvalidArgument = 2, kNotSupported = 3, kNotFound = 6;

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

}  // namespace

extern "C" {

int nvmlInit_v2() {
  return is("broken") ? kUninitialized : kSuccess;
}
int nvmlShutdown() {
  return kSuccess;
}
const char* nvmlErrorString(int) {
  return "driver not loaded";
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
  if (is("pcie")) return kNotSupported;
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

}  // extern "C"
