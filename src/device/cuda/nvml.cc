#include "device/cuda/nvml.h"

#include <dlfcn.h>

#include <array>
#include <cstdio>
#include <optional>

#include "base/error.h"

namespace tandem {
namespace {

constexpr int kSuccess = static_cast<int>(NvmlResult::kSuccess);
constexpr int kNoSuchLink = static_cast<int>(NvmlResult::kInvalidArgument);
constexpr int kReadCaps = 0, kNvLinkCaps = 2;
constexpr int kP2pOk = 0;

struct PciPlace {
  unsigned domain = 0, bus = 0, device = 0;
  bool operator==(const PciPlace&) const = default;
};

std::optional<PciPlace> place_of(const std::string& address) {
  PciPlace place;
  if (std::sscanf(address.c_str(), "%x:%x:%x", &place.domain, &place.bus, &place.device) != 3) return std::nullopt;
  return place;
}

template <class Function>
void find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function == nullptr) fail(ErrorKind::kUnsupported, "NVML of this driver has no {}", name);
}

}  // namespace

struct Nvml::Library {
  void* handle = nullptr;
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_string)(int error) = nullptr;
  int (*system_driver_version)(char* text, unsigned length) = nullptr;
  int (*device_by_pci)(const char* address, NvmlGpu* device) = nullptr;
  int (*common_ancestor)(NvmlGpu a, NvmlGpu b, int* level) = nullptr;
  int (*nvlink_state)(NvmlGpu device, unsigned link, int* state) = nullptr;
  int (*nvlink_remote_pci)(NvmlGpu device, unsigned link, NvmlPciInfo* remote) = nullptr;
  int (*p2p_status)(NvmlGpu a, NvmlGpu b, int caps, int* status) = nullptr;
  int (*mig_mode)(NvmlGpu device, unsigned* current, unsigned* pending) = nullptr;

  explicit Library(const std::string& file) : handle(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle == nullptr) {
      const char* reason = dlerror();
      fail(ErrorKind::kUnsupported, "cannot load NVML: {}", reason != nullptr ? reason : file);
    }
    find(handle, "nvmlInit_v2", init);
    find(handle, "nvmlShutdown", shutdown);
    find(handle, "nvmlErrorString", error_string);
    find(handle, "nvmlSystemGetDriverVersion", system_driver_version);
    find(handle, "nvmlDeviceGetHandleByPciBusId_v2", device_by_pci);
    find(handle, "nvmlDeviceGetTopologyCommonAncestor", common_ancestor);
    find(handle, "nvmlDeviceGetNvLinkState", nvlink_state);
    find(handle, "nvmlDeviceGetNvLinkRemotePciInfo_v2", nvlink_remote_pci);
    find(handle, "nvmlDeviceGetP2PStatus", p2p_status);
    find(handle, "nvmlDeviceGetMigMode", mig_mode);
    if (const int error = init(); error != kSuccess) {
      fail(ErrorKind::kUnsupported, "NVML does not start: {}", error_string(error));
    }
  }

  NvmlGpu device(const std::string& address) const {
    NvmlGpu found = nullptr;
    return device_by_pci(address.c_str(), &found) == kSuccess ? found : nullptr;
  }

  // To that GPU itself; if none is, and the driver says that NVLink joins the two, through switches, whether it names
  // these or, as in virtual machines, hides them.
  int num_nvlinks(NvmlGpu from, NvmlGpu to, const std::string& to_address) const {
    const std::optional<PciPlace> place = place_of(to_address);
    int direct = 0, others = 0;
    for (unsigned link = 0; link < kNvmlMaxLinks; ++link) {
      int state = 0;
      const int error = nvlink_state(from, link, &state);
      if (error == kNoSuchLink) break;
      if (error != kSuccess || state != kNvmlEnabled) continue;
      NvmlPciInfo remote{};
      if (nvlink_remote_pci(from, link, &remote) == kSuccess &&
          place == PciPlace{remote.domain, remote.bus, remote.device}) {
        ++direct;
      } else {
        ++others;
      }
    }
    if (direct > 0) return direct;
    int status = -1;
    const bool reaches = p2p_status(from, to, kNvLinkCaps, &status) == kSuccess && status == kP2pOk;
    return reaches ? others : 0;
  }
};

// dlclose would save nothing: the driver keeps its library.
Nvml::Nvml(const std::string& file) : library_(std::make_unique<Library>(file)) {}

Nvml::~Nvml() {
  library_->shutdown();
}

std::string Nvml::driver_version() const {
  std::array<char, 96> text{};
  return library_->system_driver_version(text.data(), text.size()) == kSuccess ? text.data() : "";
}

void* Nvml::find_function(const char* name) const {
  return dlsym(library_->handle, name);
}

std::string Nvml::explain(NvmlResult result) const {
  if (result == NvmlResult::kFunctionNotFound) return "NVML of this driver does not have it";
  const char* text = library_->error_string(static_cast<int>(result));
  return text != nullptr ? text : format("error {}", static_cast<int>(result));
}

bool Nvml::is_mig(const std::string& gpu) const {
  const NvmlGpu device = library_->device(gpu);
  unsigned current = 0, pending = 0;
  return device != nullptr && library_->mig_mode(device, &current, &pending) == kSuccess && current == kNvmlEnabled;
}

std::string Nvml::link(const std::string& from, const std::string& to) const {
  const NvmlGpu a = library_->device(from), b = library_->device(to);
  if (a == nullptr || b == nullptr) return "";
  if (const int links = library_->num_nvlinks(a, b, to); links > 0) return format("NV{}", links);
  int level = 0;
  if (library_->common_ancestor(a, b, &level) != kSuccess) return "";
  // 0 is two GPUs of one board, which nvidia-smi names so too.
  switch (level) {
    case 0:
    case 10:
      return "PIX";
    case 20:
      return "PXB";
    case 30:
      return "PHB";
    case 40:
      return "NODE";
    case 50:
      return "SYS";
    default:
      return "";
  }
}

std::string Nvml::p2p_status(const std::string& from, const std::string& to) const {
  const NvmlGpu a = library_->device(from), b = library_->device(to);
  int status = -1;
  if (a == nullptr || b == nullptr || library_->p2p_status(a, b, kReadCaps, &status) != kSuccess) return "";
  static constexpr const char* kNames[] = {"OK", "CNS", "GNS", "TNS", "DR", "NS"};
  return status >= 0 && status < 6 ? kNames[status] : "";
}

}  // namespace tandem
