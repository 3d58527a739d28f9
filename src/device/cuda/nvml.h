#pragma once
// NVIDIA's management library, found at run time. It numbers GPUs in its own way, so they are named by PCI address
// here.

#include <memory>
#include <string>

#include "device/cuda/nvml_types.h"

namespace tandem {

class Nvml {
 public:
  static constexpr const char* kFileName = "libnvidia-ml.so.1";  ///< part of the driver

  /// Throws kUnsupported, in NVML's or the loader's words, where there is none that works.
  explicit Nvml(const std::string& file = kFileName);
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  /// "580.159.04"; empty: not known.
  std::string driver_version() const;

  // Of GPUs at "0000:17:00.0"; of one that NVML does not know: false, empty.

  /// Whether the GPU is cut into slices.
  bool is_mig(const std::string& gpu) const;
  /// As `nvidia-smi topo -m` names it: "NV18" is 18 NVLinks, to the other GPU or to a switch that has it as well;
  /// "PIX" one PCIe switch, "PXB" several, "PHB" the CPU's own bridge, "NODE" several of these, "SYS" two sockets.
  std::string link(const std::string& from, const std::string& to) const;
  /// Of reads, as `nvidia-smi topo -p2p r` prints it: "OK", "CNS", "GNS", "TNS", "DR", "NS".
  std::string p2p_status(const std::string& from, const std::string& to) const;

  /// Any other function, by its name in NVML's reference and with arguments of just the types it has there.
  /// kFunctionNotFound: this driver's library is too old, or too new, to have it.
  template <class... A>
  NvmlResult call(const char* name, A... arguments) const {
    auto* function = reinterpret_cast<int (*)(A...)>(find_function(name));
    return function == nullptr ? NvmlResult::kFunctionNotFound : static_cast<NvmlResult>(function(arguments...));
  }
  /// In NVML's words.
  std::string explain(NvmlResult result) const;

 private:
  void* find_function(const char* name) const;
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace tandem
