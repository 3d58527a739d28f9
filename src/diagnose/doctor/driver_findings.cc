// Whether there are GPUs, and a driver that this program can use.
#include <algorithm>

#include "base/format.h"
#include "diagnose/doctor/facts_query.h"
#include "diagnose/doctor/findings.h"
#include "diagnose/doctor/known_versions.h"

namespace tandem {
namespace {

const std::vector<std::string_view> kAll = {"p2p", "nccl", "native"};
const std::vector<std::string_view> kUnusable = {"cuda-unusable", "no-nvml", "nccl-missing"};

bool has_module(const MachineFacts& facts, std::string_view name) {
  const auto& modules = facts.host.kernel_modules;
  return std::find(modules.begin(), modules.end(), name) != modules.end();
}

// What CUDA and NVML say, when they say that they do not work.
std::string complaints(const MachineFacts& facts) {
  return facts.driver.no_cuda + "\n" + facts.driver.no_nvml;
}

// Snapshots of version 1 have it in one place only.
const std::string& driver_version(const MachineFacts& facts) {
  return facts.driver.version.empty() ? facts.fabric.driver : facts.driver.version;
}

bool bound_elsewhere(const PciDevice& gpu) {
  return gpu.driver.starts_with("vfio") || gpu.driver == "nouveau" || gpu.driver.starts_with("nova");
}

Observations gpus_bound_to(const MachineFacts& facts, bool (*is_it)(std::string_view)) {
  Observations seen;
  for (const PciDevice& gpu : pci_gpus(facts)) {
    if (is_it(gpu.driver)) {
      seen.push_back({format("/sys/bus/pci/devices/{}/driver is {}", gpu.address, gpu.driver), gpu.address});
    }
  }
  return seen;
}

// Of the kernel module that every GPU waits for; not in WSL, whose module is Windows' business.
bool lacks_module(const MachineFacts& facts) {
  const std::vector<PciDevice> gpus = pci_gpus(facts);
  return !gpus.empty() && !facts.host.wsl && !has_module(facts, "nvidia") && facts.driver.version.empty() &&
         !std::all_of(gpus.begin(), gpus.end(), bound_elsewhere);
}

bool library_found_no_module(const MachineFacts& facts) {
  return mentions(complaints(facts), "driver not loaded");
}

Observations find_no_gpu(const MachineFacts& facts) {
  if (has_gpus(facts)) return {};
  Observations seen = {{"/sys/bus/pci/devices has no NVIDIA GPU"}};
  if (facts.host.wsl) seen.push_back({"WSL shows no /dev/dxg GPU to this process"});
  if (!facts.driver.no_cuda.empty()) seen.push_back({"CUDA: " + facts.driver.no_cuda});
  return seen;
}

Observations find_missing_driver(const MachineFacts& facts) {
  if (!lacks_module(facts) || library_found_no_module(facts)) return {};
  Observations seen = {{"/proc/modules has no nvidia"}};
  if (!facts.driver.no_nvml.empty()) seen.push_back({"NVML: " + facts.driver.no_nvml});
  return seen;
}

Observations find_missing_module(const MachineFacts& facts) {
  if (lacks_module(facts) && library_found_no_module(facts)) {
    return {{"/proc/modules has no nvidia, and the driver's libraries are installed"}};
  }
  if (!facts.driver.no_cuda.empty() && has_module(facts, "nvidia") && !has_module(facts, "nvidia_uvm")) {
    return {{"/proc/modules has nvidia and no nvidia_uvm, which CUDA needs"}};
  }
  return {};
}

Observations find_mismatch(const MachineFacts& facts) {
  Observations seen;
  for (const auto& [who, text] : {std::pair("CUDA", facts.driver.no_cuda), std::pair("NVML", facts.driver.no_nvml)}) {
    if (mentions(text, "version mismatch") || mentions(text, "unsupported display driver")) {
      seen.push_back({format("{}: {}", who, text)});
    }
  }
  return seen;
}

Observations find_old_driver(const MachineFacts& facts) {
  const int version = major_of(driver_version(facts));
  const int built_for = major_of(facts.driver.built_for_cuda);
  const int least = built_for >= 13 ? kLeastDriverOfCuda13 : kLeastDriver;
  if (version == 0 || version >= least) return {};
  std::string text = format("the driver is {}", driver_version(facts));
  if (!facts.driver.cuda_version.empty()) text += format(", which serves CUDA up to {}", facts.driver.cuda_version);
  text += format("; Tandem needs {} or newer", kLeastDriver);
  if (built_for > 0) text += format(", and this build, with CUDA {}, {}", facts.driver.built_for_cuda, least);
  return {{text}};
}

Observations find_bad_driver(const MachineFacts& facts) {
  Observations seen;
  for (const KnownBadDriver& bad : kKnownBadDrivers) {
    if (num_gpus(facts) < 2 || !driver_version(facts).starts_with(bad.driver)) continue;
    if (!bad.flavour.empty() && facts.driver.flavour != bad.flavour) continue;
    if (!facts.host.kernel.starts_with(bad.kernel)) continue;
    const std::string kernel = bad.kernel.empty() ? "" : format(", kernel {}", facts.host.kernel);
    seen.push_back({format("driver {}{}{}: {}; better: {} ({})", driver_version(facts), bad.flavour.empty() ? "" : " ",
                           bad.flavour, bad.what, bad.instead, bad.source) +
                    kernel});
  }
  return seen;
}

Observations find_unusable_cuda(const MachineFacts& facts) {
  if (!has_gpus(facts) || facts.driver.no_cuda.empty() || facts.driver.built_for_cuda.empty()) return {};
  return {{"CUDA: " + facts.driver.no_cuda}};
}

bool no_node_exists(const MachineFacts& facts) {
  const auto& nodes = facts.host.device_nodes;
  return std::none_of(nodes.begin(), nodes.end(), [](const DeviceNode& node) { return node.exists; });
}

Observations find_missing_nodes(const MachineFacts& facts) {
  Observations seen;
  for (const DeviceNode& node : facts.host.device_nodes) {
    // The driver's helper makes nodes of nvidia-uvm for the first program that needs them.
    const bool made_later = node.path.find("uvm") != std::string::npos && facts.driver.no_cuda.empty();
    if (node.exists || made_later || facts.host.wsl || !has_gpus(facts)) continue;
    seen.push_back({format("{} does not exist", node.path), node.path});
  }
  return seen;
}

Observations find_denied_nodes(const MachineFacts& facts) {
  Observations seen;
  for (const DeviceNode& node : facts.host.device_nodes) {
    if (!node.exists || node.usable) continue;
    seen.push_back({format("{} has mode {}, group {}: this process may not open it", node.path,
                           node.mode.empty() ? "unknown" : node.mode, node.group.empty() ? "unknown" : node.group),
                    node.path});
  }
  return seen;
}

}  // namespace

std::vector<FindingRow> driver_findings() {
  return {
      {.code = "no-gpu",
       .severity = Severity::kError,
       .title = "no NVIDIA GPU to be seen",
       .stops = kAll,
       .find = find_no_gpu,
       .cause = "The machine has none, or the virtual machine was given none. Tandem runs on CPU ranks then.",
       .remedy = {{"see whether the bus shows one", "lspci -nn -d 10de:"},
                  {"one that is built in and not shown: seat it anew, check its power cables", "", "by hand"},
                  {"in a virtual machine: pass GPUs through on its host", "", "host"},
                  {"run on CPUs until then", "tandem run MODEL --devices cpu"}},
       .gain = "GPUs at all",
       .guide = {1, 6, 98}},
      {.code = "built-without-cuda",
       .severity = Severity::kError,
       .title = "this build of Tandem has no CUDA",
       .stops = kAll,
       .find = [](const MachineFacts& facts) -> Observations {
         if (!has_gpus(facts) || !facts.driver.built_for_cuda.empty() || facts.driver.no_cuda.empty()) return {};
         return {{format("{} GPU(s) on the bus, and TANDEM_CUDA=OFF in this build", num_gpus(facts))}};
       },
       .cause = "It was built with the preset cpu.",
       .remedy = {{"build with a CUDA toolkit of 12.4 or newer", "cmake --workflow --preset cuda"}},
       .gain = "GPUs at all",
       .guide = {2},
       .explains = kUnusable},
      {.code = "gpu-bound-to-vfio",
       .severity = Severity::kError,
       .title = "a GPU is reserved for virtual machines",
       .stops = kAll,
       .find =
           [](const MachineFacts& facts) {
             return gpus_bound_to(facts, [](std::string_view driver) { return driver.starts_with("vfio"); });
           },
       .cause = "vfio-pci holds it, so that a guest can have it. NVIDIA's driver of this system cannot.",
       .remedy = {{"no guest needs it: take it from vfio-pci and give it to nvidia",
                   "echo {} | sudo tee /sys/bus/pci/drivers/vfio-pci/unbind\n"
                   "echo nvidia | sudo tee /sys/bus/pci/devices/{}/driver_override\n"
                   "echo {} | sudo tee /sys/bus/pci/drivers_probe",
                   "root"},
                  {"for good: take vfio-pci.ids out of the kernel's options and of /etc/modprobe.d", "",
                   "root, reboot"}},
       .gain = "one more GPU",
       .guide = {23},
       .explains = {"cuda-unusable", "no-nvml"}},
      {.code = "gpu-bound-to-nouveau",
       .severity = Severity::kError,
       .title = "a GPU is held by a driver that has no CUDA",
       .stops = kAll,
       .find =
           [](const MachineFacts& facts) {
             return gpus_bound_to(
                 facts, [](std::string_view driver) { return driver == "nouveau" || driver.starts_with("nova"); });
           },
       .cause = "nouveau, or nova, was loaded before NVIDIA's driver.",
       .remedy = {{"keep it from being loaded",
                   "printf 'blacklist nouveau\\nblacklist nova_core\\noptions nouveau modeset=0\\n' | sudo tee "
                   "/etc/modprobe.d/no-nouveau.conf\nsudo update-initramfs -u   # Fedora, RHEL: sudo dracut --force",
                   "root, reboot"}},
       .gain = "one more GPU",
       .guide = {107},
       .explains = {"cuda-unusable", "no-nvml", "driver-missing"}},
      {.code = "driver-missing",
       .severity = Severity::kError,
       .title = "NVIDIA's driver is not installed",
       .stops = kAll,
       .find = find_missing_driver,
       .cause = "There are GPUs on the bus, and neither the kernel module nor the driver's libraries.",
       .remedy = {{"Ubuntu", "sudo ubuntu-drivers install --gpgpu", "root, reboot"},
                  {"Debian", "sudo apt install nvidia-open-kernel-dkms nvidia-driver-cuda", "root, reboot"},
                  {"Fedora and RHEL, with NVIDIA's repository", "sudo dnf install nvidia-open", "root, reboot"},
                  {"in a container: install it on the host", "", "host"}},
       .gain = "GPUs at all",
       .guide = {3, 107},
       .explains = {"cuda-unusable", "no-nvml", "nccl-missing", "device-node-missing", "container-without-devices"}},
      {.code = "module-not-loaded",
       .severity = Severity::kError,
       .title = "a kernel module of the driver is not loaded",
       .stops = kAll,
       .find = find_missing_module,
       .cause = "The driver is installed. Its module was never loaded, or does not fit a new kernel, or is not signed "
                "while Secure Boot asks for that. nvidia_drm is not needed.",
       .remedy = {{"load them", "sudo modprobe nvidia\nsudo modprobe nvidia_uvm", "root"},
                  {"where that fails: build the module for this kernel", "sudo dkms autoinstall && dkms status",
                   "root"},
                  {"where it says \"Key was rejected\": sign the module, or turn Secure Boot off", "",
                   "root, firmware"}},
       .gain = "GPUs at all",
       .guide = {107},
       .explains = {"cuda-unusable", "no-nvml", "device-node-missing", "container-without-devices"}},
      {.code = "driver-library-mismatch",
       .severity = Severity::kError,
       .title = "kernel module and libraries of the driver are of different versions",
       .stops = kAll,
       .find = find_mismatch,
       .cause =
           "The driver was updated, and the old module is still loaded; or a container brings libraries of its own.",
       .remedy = {{"load the new module: nothing may use a GPU",
                   "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe nvidia", "root"},
                  {"or start the machine anew", "sudo reboot", "root, reboot"},
                  {"in a container: remove libcuda and libnvidia-ml from its image, the host's are mounted"}},
       .gain = "GPUs at all",
       .guide = {2, 3},
       .explains = kUnusable},
      {.code = "driver-too-old",
       .severity = Severity::kError,
       .title = "the driver is too old",
       .stops = kAll,
       .find = find_old_driver,
       .cause = "Tandem needs a driver of CUDA 12.4 or newer, 550; built with CUDA 13 it needs 580.",
       .remedy = {{"Ubuntu", "sudo ubuntu-drivers install --gpgpu", "root, reboot"},
                  {"Fedora and RHEL, with NVIDIA's repository", "sudo dnf upgrade nvidia-open", "root, reboot"},
                  {"in a container: the driver is the host's", "", "host"}},
       .gain = "GPUs at all",
       .guide = {2, 3, 90},
       .explains = {"cuda-unusable", "driver-known-bad"}},
      {.code = "driver-known-bad",
       .severity = Severity::kWarning,
       .title = "others had trouble with this driver",
       .stops = {"p2p", "nccl"},
       .find = find_bad_driver,
       .cause =
           "Some versions are known to break communication between GPUs. Whether this machine is hit, the probe of "
           "tandem check tells.",
       .remedy = {{"verify the links", "tandem check"},
                  {"install the version that is named above", "", "root, reboot"}},
       .gain = "results that can be trusted, and no hangs",
       .guide = {3},
       .explains = {"corrupt"}},
      {.code = "cuda-unusable",
       .severity = Severity::kError,
       .title = "CUDA does not work in this process",
       .stops = kAll,
       .find = find_unusable_cuda,
       .cause = "There are GPUs, and CUDA does not start. What it says is above.",
       .remedy = {{"see whether others can use them", "nvidia-smi"},
                  {"see what the kernel says", "sudo dmesg | grep -iE 'nvrm|xid|nvidia'", "root"}},
       .gain = "GPUs at all",
       .guide = {8, 19},
       .explains = {"not-probed"}},
      {.code = "device-node-missing",
       .severity = Severity::kError,
       .title = "a device node of the driver is missing",
       .stops = kAll,
       .find = [](const MachineFacts& facts) -> Observations {
         if (!facts.host.container.empty() && no_node_exists(facts)) return {};
         return find_missing_nodes(facts);
       },
       .cause =
           "The module is loaded, and /dev lacks the file that a GPU is reached through. In a container: it was not "
           "passed in.",
       .remedy = {{"make the nodes", "sudo nvidia-modprobe -u -c 0", "root"},
                  {"in a container: pass it", "docker run --gpus all --device {} IMAGE", "host"}},
       .gain = "the GPU behind it",
       .guide = {6, 20, 107},
       .explains = {"cuda-unusable", "no-nvml"}},
      {.code = "device-node-denied",
       .severity = Severity::kError,
       .title = "this user may not open a device node",
       .stops = kAll,
       .find = find_denied_nodes,
       .cause =
           "The node belongs to a group that this user is not in, or the container's device rules forbid it. Root's "
           "rights are not the answer: Tandem needs none.",
       .remedy = {{"join the group that is named above, and log in anew", "sudo usermod -aG GROUP \"$USER\"", "root"},
                  {"or let everybody, which is NVIDIA's default",
                   "echo 'options nvidia NVreg_DeviceFileMode=0666' | sudo tee /etc/modprobe.d/nvidia-nodes.conf",
                   "root, reboot"},
                  {"in a container: pass it", "docker run --gpus all --device {} IMAGE", "host"}},
       .gain = "the GPU behind it",
       .guide = {6, 14, 20, 21},
       .explains = {"cuda-unusable", "no-nvml"}},
      {.code = "container-without-devices",
       .severity = Severity::kError,
       .title = "the container was started without GPUs",
       .stops = kAll,
       .find = [](const MachineFacts& facts) -> Observations {
         if (facts.host.container.empty() || facts.host.device_nodes.empty() || !no_node_exists(facts) ||
             !has_gpus(facts) || facts.host.wsl) {
           return {};
         }
         return {{format("{}: none of {} device nodes is in the container", facts.host.container,
                         facts.host.device_nodes.size())}};
       },
       .cause = "GPUs are on the bus of the host; none of the driver's nodes in /dev was passed to the container.",
       .remedy = {{"docker, with NVIDIA's container toolkit",
                   "docker run --gpus all --shm-size=1g --ulimit memlock=-1 -e "
                   "NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE",
                   "host"},
                  {"podman", "podman run --device nvidia.com/gpu=all --shm-size=1g --ulimit memlock=-1 IMAGE", "host"},
                  {"Kubernetes: resources.limits of the pod", "nvidia.com/gpu: 2", "host"}},
       .gain = "GPUs at all",
       .guide = {6, 104, 106},
       .explains = {"cuda-unusable", "no-nvml", "nccl-missing"}},
      {.code = "driver-capabilities",
       .severity = Severity::kWarning,
       .title = "the container has only a part of the driver",
       .stops = {"p2p"},
       .find = [](const MachineFacts& facts) -> Observations {
         const auto value = environment(facts, "NVIDIA_DRIVER_CAPABILITIES");
         if (!value || facts.host.container.empty() || mentions(*value, "all")) return {};
         if (mentions(*value, "compute") && mentions(*value, "utility")) return {};
         return {{format("NVIDIA_DRIVER_CAPABILITIES={}: compute and utility are needed", *value)}};
       },
       .cause =
           "The container toolkit mounts CUDA for \"compute\" and NVML for \"utility\". Without NVML links, health "
           "and MIG mode are not known.",
       .remedy = {{"name both", "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE", "host"}},
       .gain = "links and health of the GPUs are known",
       .guide = {6, 106},
       .explains = {"no-nvml", "cuda-unusable"}},
      {.code = "no-nvml",
       .severity = Severity::kWarning,
       .title = "NVML does not work",
       .find = [](const MachineFacts& facts) -> Observations {
         const std::string& why = facts.driver.no_nvml.empty() ? facts.fabric.no_nvml : facts.driver.no_nvml;
         if (!has_gpus(facts) || why.empty()) return {};
         return {{"NVML: " + why}};
       },
       .cause = "libnvidia-ml.so.1 is part of the driver. Without it links, health and MIG mode are not known.",
       .remedy = {{"see whether the driver's own tool works", "nvidia-smi"},
                  {"in a container: ask for it",
                   "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE", "host"}},
       .gain = "links and health of the GPUs are known",
       .guide = {24, 25}},
      {.code = "nccl-missing",
       .severity = Severity::kWarning,
       .title = "there is no NCCL",
       .stops = {"nccl"},
       .find = [](const MachineFacts& facts) -> Observations {
         if (num_gpus(facts) < 2 || facts.driver.nccl_found.value_or(true)) return {};
         return {{"libnccl.so.2: " + (facts.driver.nccl.empty() ? std::string("not found") : facts.driver.nccl)}};
       },
       .cause = "Tandem loads NCCL, 2.17 or newer, when it starts. p2p and native work without.",
       .remedy = {{"Debian and Ubuntu, with NVIDIA's repository", "sudo apt install libnccl2", "root"},
                  {"Fedora and RHEL, with NVIDIA's repository", "sudo dnf install libnccl", "root"},
                  {"or name one that is somewhere else", "export TANDEM_NCCL_LIBRARY=/path/to/libnccl.so.2"}},
       .gain = "the fastest path for long messages on many machines",
       .guide = {10, 62}},
  };
}

}  // namespace tandem
