#pragma once
// What we use of NVML's types, declared by us: nobody needs its header to build Tandem. Names in comments, layouts and
// values are those of NVIDIA's NVML API reference, https://docs.nvidia.com/deploy/nvml-api, and of nvml.h of CUDA 12
// and 13 as github.com/NVIDIA/go-nvml has it (gen/nvml/nvml.h).

#include <cstdint>

namespace tandem {

using NvmlGpu = struct NvmlGpuOfLibrary*;  // nvmlDevice_t

// nvmlReturn_t; other values are errors too
enum class NvmlResult : int {
  kSuccess = 0,
  kInvalidArgument = 2,
  kNotSupported = 3,
  kInsufficientSize = 7,
  kFunctionNotFound = 13,
  kGpuIsLost = 15,
};

constexpr int kNvmlEnabled = 1;  // nvmlEnableState_t

struct NvmlPciInfo {  // nvmlPciInfo_t
  char bus_id_legacy[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char bus_id[32];
};

struct NvmlMemory {  // nvmlMemory_t, nvmlBAR1Memory_t
  unsigned long long total, free, used;
};

struct NvmlProcess {  // nvmlProcessInfo_t of the functions that end in _v2 and _v3
  unsigned pid;
  unsigned long long used_memory;  // all ones: not known
  unsigned gpu_instance, compute_instance;
};

struct NvmlAddressingMode {  // nvmlDeviceAddressingMode_t
  unsigned version = sizeof(NvmlAddressingMode) | 1u << 24;
  unsigned value = 0;
};

struct NvmlFabric {  // nvmlGpuFabricInfo_t
  unsigned char cluster[16];
  int status;
  unsigned clique;
  unsigned char state;
};

static_assert(sizeof(NvmlPciInfo) == 68 && sizeof(NvmlProcess) == 24 && sizeof(NvmlFabric) == 28);

constexpr int kNvmlTemperatureOfGpu = 0;     // NVML_TEMPERATURE_GPU
constexpr int kNvmlSlowdownTemperature = 1;  // NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
constexpr int kNvmlSmClock = 1;              // NVML_CLOCK_SM
constexpr int kNvmlUncorrected = 1;          // NVML_MEMORY_ERROR_TYPE_UNCORRECTED
constexpr int kNvmlVolatile = 0;             // NVML_VOLATILE_ECC: since the driver was loaded
// NVML_NVLINK_ERROR_DL_REPLAY, _RECOVERY, _CRC_FLIT, _CRC_DATA
constexpr int kNvmlLinkErrors[] = {0, 1, 2, 3};

constexpr unsigned kNvmlMaxLinks = 64;  // more than any GPU has

}  // namespace tandem
