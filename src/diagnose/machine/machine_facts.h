#pragma once
// All that the doctor knows of a machine: plain data, so that a diagnosis can be recorded, replayed, tested and
// explained. What nobody could read is nullopt, and `unread` says why. docs/reference/machine-snapshot.md has the JSON.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "comm/trust/machine_snapshot.h"

namespace tandem {

/// Something that this process could not read.
struct Unread {
  std::string source;  ///< "/dev/nvidia0", "nvmlDeviceGetPowerUsage of 0000:17:00.0"
  std::string reason;  ///< "Permission denied"
  bool operator==(const Unread&) const = default;
};

/// A file of /dev that GPUs are reached through.
struct DeviceNode {
  std::string path;  ///< "/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"
  bool exists = false;
  bool usable = false;     ///< this process may read and write it
  std::string mode = {};   ///< "0660"; empty: it does not exist
  std::string group = {};  ///< its group's name, or number
  bool operator==(const DeviceNode&) const = default;
};

struct HostFacts {
  std::string os = {};          ///< "Debian GNU/Linux 12 (bookworm)"
  std::string kernel = {};      ///< "6.1.0", the number alone
  std::string hypervisor = {};  ///< "kvm", "vmware", "xen", "hyper-v", "other"; empty: none, as far as one can see
  bool wsl = false;             ///< Windows' subsystem for Linux
  std::string container = {};   ///< "docker", "podman", "kubernetes", "lxc", "other"; empty: none
  std::optional<int> cpus = {}, sockets = {}, numa_nodes = {};
  std::optional<std::uint64_t> memory_bytes = {}, available_memory_bytes = {};
  std::optional<double> load_average = {};                           ///< of a minute
  std::optional<std::uint64_t> memlock_bytes = {};                   ///< RLIMIT_MEMLOCK; 2^64 - 1: no limit
  std::optional<std::uint64_t> shm_bytes = {}, free_shm_bytes = {};  ///< of /dev/shm
  std::vector<std::string> kernel_options = {};                      ///< those on iommu, pci, vfio, nvidia
  std::optional<bool> iommu_active = {};                             ///< /sys/class/iommu names one
  std::vector<std::string> kernel_modules = {};                      ///< nvidia*, nouveau, vfio* as loaded
  std::map<std::string, std::string> environment = {};               ///< of the variables that matter, as set
  std::vector<DeviceNode> device_nodes = {};
  bool operator==(const HostFacts&) const = default;
};

struct DriverFacts {
  std::string version = {};                            ///< "580.159.04"; empty: there is none, or it is not known
  std::string flavour = {};                            ///< "open", "proprietary"; empty: not known
  std::string cuda_version = {};                       ///< newest that the driver serves, "13.0"
  std::string built_for_cuda = {};                     ///< that this program was built with; empty: without
  std::map<std::string, std::string> parameters = {};  ///< /proc/driver/nvidia/params
  std::optional<bool> nccl_found = {};
  std::string nccl = {};     ///< its version, or why there is none
  std::string no_cuda = {};  ///< why the process can use no GPU
  std::string no_nvml = {};
  bool operator==(const DriverFacts&) const = default;
};

/// A PCI device: a GPU, or a bridge above one.
struct PciDevice {
  std::string address = {};                                ///< "0000:17:00.0"
  std::string vendor = {}, device = {};                    ///< "0x10de", "0x2330"
  std::string kind = {};                                   ///< "gpu", "root-port", "switch-up", "switch-down", "bridge"
  std::string driver = {};                                 ///< bound in the kernel: "nvidia", "vfio-pci", "nouveau"
  std::string parent = {};                                 ///< the bridge above; empty: a root complex
  std::optional<double> link_gts = {}, max_link_gts = {};  ///< of a lane: 2.5, 5, 8, 16, 32, 64 GT/s; of now, and best
  std::optional<int> link_width = {}, max_link_width = {};
  std::optional<int> numa_node = {};  ///< -1: the machine has but one, or does not say
  std::optional<int> iommu_group = {};
  std::string iommu_group_type = {};  ///< "identity", "DMA", "DMA-FQ", "auto"; empty: not known
  std::optional<std::uint64_t> bar1_bytes = {};
  std::optional<bool> acs_redirects = {};  ///< of a bridge: requests of peers go up to the root
  bool answers = true;                     ///< false: its configuration reads as all ones
  bool operator==(const PciDevice&) const = default;
};

struct NvLink {
  bool active = false;
  std::optional<int> version = {};
  std::string remote = {};                   ///< PCI address at its other end; empty: not known
  std::optional<std::uint64_t> errors = {};  ///< CRC, replay and recovery errors since the driver was loaded
  bool operator==(const NvLink&) const = default;
};

/// A process that has memory of a GPU. Neither its name nor its user is recorded.
struct GpuProcess {
  std::uint32_t pid = 0;
  bool ours = false;
  std::optional<std::uint64_t> memory_bytes = {};
  bool operator==(const GpuProcess&) const = default;
};

/// What NVML tells of a GPU.
struct GpuHealth {
  std::string pci_address = {};
  std::string name = {}, uuid = {};
  std::string compute_capability = {};  ///< "9.0"
  std::optional<int> index = {};        ///< as this process numbers it; nullopt: CUDA_VISIBLE_DEVICES hides it
  std::optional<std::uint64_t> memory_bytes = {}, used_memory_bytes = {};
  std::optional<std::uint64_t> bar1_bytes = {}, used_bar1_bytes = {};
  std::optional<bool> mig = {}, display_active = {}, persistence = {};
  std::string compute_mode = {};     ///< "default", "exclusive-process", "prohibited"
  std::string virtualization = {};   ///< "none", "passthrough", "vgpu", "host-vgpu", "host-vsga"
  std::string addressing_mode = {};  ///< "none", "hmm", "ats"
  std::optional<double> watts = {}, limit_watts = {}, max_limit_watts = {};
  std::optional<int> celsius = {}, slowdown_celsius = {};
  std::optional<int> sm_mhz = {}, max_sm_mhz = {};
  std::vector<std::string> throttle_reasons = {};  ///< "sw-power-cap", "hw-thermal-slowdown", ...; idle is none
  std::optional<int> pcie_generation = {}, max_pcie_generation = {}, pcie_width = {}, max_pcie_width = {};
  std::optional<std::uint64_t> pcie_replays = {};
  std::optional<bool> ecc = {};
  std::optional<std::uint64_t> uncorrected_ecc_errors = {};
  std::optional<bool> pending_row_remap = {};
  std::vector<NvLink> nvlinks = {};
  std::string fabric_state = {};  ///< of NVSwitch machines: "completed", "in-progress", "not-started"; empty: no fabric
  std::vector<GpuProcess> processes = {};
  bool operator==(const GpuHealth&) const = default;
};

/// An Xid message of the kernel's log.
struct XidEvent {
  std::string pci_address = {};
  int code = 0;
  int times = 1;
  bool operator==(const XidEvent&) const = default;
};

struct MachineFacts {
  HostFacts host = {};
  DriverFacts driver = {};
  std::vector<PciDevice> pci = {};                 ///< NVIDIA's GPUs, and every bridge above them
  std::vector<GpuHealth> gpus = {};                ///< all that NVML shows, hidden ones too
  std::optional<std::vector<XidEvent>> xids = {};  ///< nullopt: the kernel's log is not for us
  std::optional<double> supply_watts = {};         ///< of the power supply, as the user declares it
  MachineSnapshot fabric = {};                     ///< of the ranks' devices: what `tandem check` finds out
  std::vector<Unread> unread = {};
  std::string composed = {};  ///< of a machine that nobody recorded: after what it was made up
  bool operator==(const MachineFacts&) const = default;
};

}  // namespace tandem
