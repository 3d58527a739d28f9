#pragma once
// What is known of versions of NVIDIA's driver, with the public source of each line.

#include <string_view>

namespace tandem {

/// The one minimum: the first driver of CUDA 12.4, the oldest toolkit that Tandem builds with.
inline constexpr int kLeastDriver = 550;
/// Drivers serve programs built with their own major version of CUDA, and older ones
/// (docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html).
inline constexpr int kLeastDriverOfCuda13 = 580;

struct KnownBadDriver {
  std::string_view driver;   ///< the version begins so
  std::string_view flavour;  ///< "open", "proprietary"; empty: both
  std::string_view kernel;   ///< the kernel's version begins so; empty: whichever
  std::string_view what;
  std::string_view instead;
  std::string_view source;
};

inline constexpr KnownBadDriver kKnownBadDrivers[] = {
    {"545.", "", "", "claims peer access between GeForce cards that have none", "550 or newer",
     "github.com/vllm-project/vllm/issues/5458"},
    {"560.", "", "", "NCCL may hang where it uses peer access", "570 or newer", "github.com/dmlc/xgboost/issues/11242"},
    {"580.142", "open", "", "copies between peers over PCI Express came out corrupt, without any error",
     "another version, with tandem check after it", "github.com/NVIDIA/open-gpu-kernel-modules/issues/1257"},
    {"595.58.03", "open", "7.0.", "patched for peer access, reports CNS on this kernel and OK on 6.17",
     "a kernel of 6.17 or older", "github.com/aikitoria/open-gpu-kernel-modules/issues/24"},
};

}  // namespace tandem
