// Whether GPUs can reach each other: what stands in the way, what the driver claims, what the probe found.
#include <algorithm>
#include <set>

#include "base/format.h"
#include "comm/trust/choice.h"
#include "diagnose/doctor/facts_query.h"
#include "diagnose/doctor/findings.h"

namespace tandem {
namespace {

constexpr std::size_t kMostPeers = 8;

const std::vector<std::string_view> kWrongResults = {"corrupt", "out-of-order", "message-lost", "map-failed"};
const std::vector<std::string_view> kNoPeers = {"no-peer-access", "partial-mesh"};
const std::vector<std::string_view> kWrongOrNoPeers = {"corrupt",    "out-of-order",   "message-lost",
                                                       "map-failed", "no-peer-access", "partial-mesh"};

bool is_guest(const MachineFacts& facts) {
  return !facts.host.hypervisor.empty() && !facts.host.wsl;
}

std::string seen_of(const PairFacts& pair) {
  std::string text = pair.probe.outcome == ProbeOutcome::kNotTried || !has_access(pair)
                         ? format("peer access {}", has_access(pair) ? "yes" : "no")
                         : format("{} in {} rounds", to_string(pair.probe.outcome), pair.probe.rounds);
  if (!pair.link.empty()) text += " over " + pair.link;
  if (!pair.p2p_status.empty() && pair.p2p_status != "OK") text += ", NVML says " + pair.p2p_status;
  if (!pair.probe.detail.empty()) text += format(" ({})", pair.probe.detail);
  return text;
}

Observations pairs_where(const MachineFacts& facts,
                         bool (*select)(const PairFacts&, const GpuFacts& from, const GpuFacts& to)) {
  return each_pair(facts, [&](const PairFacts& pair, const GpuFacts& from, const GpuFacts& to) {
    return select(pair, from, to) ? seen_of(pair) : std::string();
  });
}

template <ProbeOutcome outcome>
Observations pairs_with(const MachineFacts& facts) {
  return pairs_where(
      facts, [](const PairFacts& pair, const GpuFacts&, const GpuFacts&) { return pair.probe.outcome == outcome; });
}

// Of a GeForce pair over PCI Express the driver's word has a cause of its own.
bool is_geforce_policy(const PairFacts& pair, const GpuFacts& from, const GpuFacts& to) {
  return over_pcie(pair) && !has_access(pair) && is_geforce(from) && is_geforce(to) && pair.p2p_status != "DR" &&
         from.major == to.major && from.minor == to.minor;
}

bool has_status(const PairFacts& pair, const GpuFacts& from, const GpuFacts& to, std::string_view status) {
  return pair.p2p_status == status && !has_access(pair) && !is_geforce_policy(pair, from, to);
}

std::vector<const PciDevice*> bridges_above(const MachineFacts& facts, const PciDevice& gpu) {
  std::vector<const PciDevice*> bridges;
  const PciDevice* device = pci_device(facts, gpu.parent);
  while (device != nullptr && bridges.size() < facts.pci.size()) {  // a file may have a ring
    bridges.push_back(device);
    device = pci_device(facts, device->parent);
  }
  return bridges;
}

// Root ports redirect whatever they do; it hurts where a bridge below could have turned the request round, or where
// the root loses it.
Observations find_acs(const MachineFacts& facts) {
  if (is_guest(facts) || !has_pcie_pairs(facts)) return {};
  Observations seen;
  std::set<std::string> told;
  for (const PciDevice& gpu : our_pci_gpus(facts)) {
    for (const PciDevice* bridge : bridges_above(facts, gpu)) {
      if (!bridge->acs_redirects.value_or(false)) continue;
      if (bridge->kind == "root-port" && !pcie_pair_failed(facts)) continue;
      if (!told.insert(bridge->address).second) continue;
      seen.push_back({format("{} ({}): ACS redirects requests of peers to the root", bridge->address, bridge->kind),
                      bridge->address});
    }
  }
  return seen;
}

Observations find_iommu(const MachineFacts& facts) {
  if (is_guest(facts) || !has_pcie_pairs(facts)) return {};
  Observations seen;
  for (const PciDevice& gpu : our_pci_gpus(facts)) {
    if (!gpu.iommu_group_type.starts_with("DMA")) continue;
    seen.push_back({format("{}: /sys/kernel/iommu_groups/{}/type is {}", gpu.address, gpu.iommu_group.value_or(-1),
                           gpu.iommu_group_type),
                    gpu.address});
  }
  const auto& options = facts.host.kernel_options;
  const bool passes = std::any_of(options.begin(), options.end(), [](const std::string& option) {
    return option == "iommu=pt" || option.ends_with("iommu=off") || option == "iommu.passthrough=1";
  });
  const auto gpus = our_pci_gpus(facts);
  const bool types_known =
      std::any_of(gpus.begin(), gpus.end(), [](const PciDevice& gpu) { return !gpu.iommu_group_type.empty(); });
  if (!types_known && facts.host.iommu_active.value_or(false) && !passes && pcie_pair_failed(facts)) {
    seen.push_back({"/sys/class/iommu has one, and /proc/cmdline has no iommu=pt"});
  }
  return seen;
}

Observations find_small_bar1(const MachineFacts& facts, bool geforce) {
  std::set<std::string> with_access;
  for (const PairFacts& pair : facts.fabric.pairs) {
    if (!over_pcie(pair) || !pair.can_access) continue;
    with_access.insert(facts.fabric.gpus[static_cast<std::size_t>(pair.from)].pci_address);
    with_access.insert(facts.fabric.gpus[static_cast<std::size_t>(pair.to)].pci_address);
  }
  return each_gpu(facts, [&](const GpuHealth& gpu) {
    if (is_geforce(gpu) != geforce || !gpu.bar1_bytes || !gpu.memory_bytes) return std::string();
    if (*gpu.bar1_bytes >= *gpu.memory_bytes || !with_access.contains(gpu.pci_address)) return std::string();
    return format("BAR1 is {}, its memory {}", size_text(*gpu.bar1_bytes), size_text(*gpu.memory_bytes));
  });
}

Observations find_missing_access(const MachineFacts& facts, bool all) {
  const auto& pairs = facts.fabric.pairs;
  const bool none = std::none_of(pairs.begin(), pairs.end(), has_access);
  if (none != all) return {};
  return pairs_where(facts, [](const PairFacts& pair, const GpuFacts&, const GpuFacts&) { return !has_access(pair); });
}

std::vector<FindingRow> pair_findings() {
  const std::vector<RemedyStep> probe_again = {
      {"see the pairs, and what else is wrong with this machine", "tandem check && tandem doctor"},
      {"until it is mended, auto goes round p2p; to be sure", "tandem run MODEL --tp-backend native"}};
  constexpr std::string_view kCause =
      "The probe wrote between the two GPUs and did not read what it wrote. Likely, in this order: the IOMMU "
      "translates "
      "(iommu-translated), a bridge redirects (acs-redirect), a virtual machine without approval "
      "(vm-without-p2p-approval), BAR1 that is too small (bar1-too-small), a driver that is known for it "
      "(driver-known-bad), a display on one of the GPUs (display-attached), a riser.";
  return {
      {.code = "corrupt",
       .severity = Severity::kError,
       .title = "a pair of GPUs delivers wrong data",
       .stops = {"p2p", "nccl"},
       .find = pairs_with<ProbeOutcome::kCorrupt>,
       .cause = kCause,
       .remedy = probe_again,
       .gain = "p2p, and results that can be trusted",
       .guide = {8, 12, 66}},
      {.code = "out-of-order",
       .severity = Severity::kError,
       .title = "a pair of GPUs delivers data in the wrong order",
       .stops = {"p2p", "nccl"},
       .find = pairs_with<ProbeOutcome::kOutOfOrder>,
       .cause = kCause,
       .remedy = probe_again,
       .gain = "p2p, and results that can be trusted",
       .guide = {8, 12, 66}},
      {.code = "message-lost",
       .severity = Severity::kError,
       .title = "a pair of GPUs loses data",
       .stops = {"p2p", "nccl"},
       .find = pairs_with<ProbeOutcome::kLost>,
       .cause = kCause,
       .remedy = probe_again,
       .gain = "p2p, and no hangs",
       .guide = {8, 12, 66}},
      {.code = "map-failed",
       .severity = Severity::kError,
       .title = "a GPU cannot map the memory of a peer that the driver claims",
       .stops = {"p2p"},
       .find = pairs_with<ProbeOutcome::kMapFailed>,
       .cause =
           "The driver gave access and refused the mapping. Likely: BAR1 is too small or full, more than eight peers, "
           "or the fabric manager of a machine with NVSwitch does not run.",
       .remedy = {{"see whether BAR1 is as large as the memory", "nvidia-smi -q -d MEMORY"},
                  {"machines with NVSwitch", "systemctl status nvidia-fabricmanager"}},
       .gain = "p2p",
       .guide = {8, 11, 19}},
  };
}

std::vector<FindingRow> access_findings() {
  return {
      {.code = "fabric-manager",
       .severity = Severity::kError,
       .title = "the NVSwitch fabric is not set up",
       .stops = {"p2p", "nccl", "native"},
       .find =
           [](const MachineFacts& facts) {
             return each_gpu(facts, [](const GpuHealth& gpu) {
               const bool waits = !gpu.fabric_state.empty() && gpu.fabric_state != "completed";
               return waits ? "NVML: the state of the fabric is " + gpu.fabric_state : std::string();
             });
           },
       .cause =
           "On machines with NVSwitch CUDA starts only after nvidia-fabricmanager, of exactly the driver's version, "
           "has set the switches up.",
       .remedy = {{"start it, and see what it says",
                   "sudo systemctl enable --now nvidia-fabricmanager\njournalctl -u nvidia-fabricmanager -b", "root"},
                  {"of the driver's version",
                   "nvidia-smi --query-gpu=driver_version --format=csv\nnv-fabricmanager --version"}},
       .gain = "GPUs at all, and NVLink between all of them",
       .guide = {12, 25, 89},
       .explains = {"cuda-unusable", "nvlink-without-access", "nvlink-inactive", "no-peer-access", "partial-mesh",
                    "map-failed", "not-probed"}},
      {.code = "iommu-translated",
       .severity = Severity::kWarning,
       .title = "the IOMMU translates what GPUs send each other",
       .stops = {"p2p", "nccl"},
       .find = find_iommu,
       .cause =
           "The GPUs' IOMMU groups are of type DMA: a peer's address is not what the IOMMU expects. NVIDIA supports "
           "peer access on bare metal only without translation; it is refused, lost, or slow. Turning the IOMMU on, "
           "as some guides say, is the opposite of what helps.",
       .remedy = {{"let the IOMMU pass devices of the host through; guests can still be given devices. In "
                   "/etc/default/grub",
                   "-GRUB_CMDLINE_LINUX=\"...\"\n+GRUB_CMDLINE_LINUX=\"... iommu=pt\"", "root, reboot"},
                  {"make it known, and start anew",
                   "sudo update-grub\nsudo grub2-mkconfig -o /boot/grub2/grub.cfg   # Fedora, RHEL\nsudo reboot",
                   "root, reboot"},
                  {"or turn it off altogether, which takes passthrough and DMA protection away: VT-d or AMD-Vi in the "
                   "firmware's setup, or intel_iommu=off, amd_iommu=off",
                   "", "root, firmware, reboot"},
                  {"verify", "tandem check"}},
       .gain = "p2p over PCI Express",
       .guide = {12, 22, 109, 110, 111},
       .explains = kWrongOrNoPeers},
      {.code = "acs-redirect",
       .severity = Severity::kWarning,
       .title = "bridges send what GPUs exchange up to the root",
       .stops = {"p2p", "nccl"},
       .find = find_acs,
       .cause =
           "ACS (access control services) redirects requests of peers, which isolates guests. They take the long way "
           "through the CPU, and meet the IOMMU there.",
       .remedy = {{"turn it off on these bridges, until the next start; never where guests share this machine",
                   "sudo setpci -s {} ECAP_ACS+6.w=0000", "root"},
                  {"for good: ACS in the firmware's setup, or the line above in a unit that runs at each start", "",
                   "root, firmware, reboot"},
                  {"verify", "tandem check"}},
       .gain = "p2p at the speed of the switch",
       .guide = {12, 109, 110},
       .explains = kWrongResults},
      {.code = "vm-without-p2p-approval",
       .severity = Severity::kWarning,
       .title = "the virtual machine's GPUs may not reach each other",
       .stops = {"p2p", "nccl"},
       .find = [](const MachineFacts& facts) -> Observations {
         if (!is_guest(facts)) return {};
         Observations seen = pairs_where(facts, [](const PairFacts& pair, const GpuFacts& from, const GpuFacts& to) {
           return over_pcie(pair) && (failed_probe(pair) || has_status(pair, from, to, "CNS"));
         });
         if (!seen.empty()) seen.insert(seen.begin(), {format("the hypervisor is {}", facts.host.hypervisor)});
         return seen;
       },
       .cause =
           "In a guest the driver gives peer access only where the host approves of it; the bridges between the GPUs "
           "keep ACS on for the guests' isolation. Nothing within the guest changes that.",
       .remedy =
           {{"on the host, QEMU: the same clique for GPUs that may reach each other; only where they share a switch "
             "and one guest has them all",
             "-device vfio-pci,host=17:00.0,x-nv-gpudirect-clique=0", "host"},
            {"or on bare metal, or in a container instead of a virtual machine", "", "host"},
            {"until then NCCL and native go through host memory", "tandem check"}},
       .gain = "p2p in the guest",
       .guide = {12, 23},
       .explains = {"corrupt", "out-of-order", "message-lost", "map-failed", "no-peer-access", "partial-mesh",
                    "chipset-no-p2p"}},
      {.code = "vgpu",
       .severity = Severity::kWarning,
       .title = "a GPU is a virtual one (vGPU)",
       .stops = {"p2p", "nccl"},
       .find =
           [](const MachineFacts& facts) {
             return each_gpu(facts, [](const GpuHealth& gpu) {
               return gpu.virtualization == "vgpu" ? "NVML: virtualization is vgpu" : "";
             });
           },
       .cause = "Virtual GPUs have no peers, but for some profiles over NVLink, and share time with other guests.",
       .remedy = {{"pass whole GPUs through instead", "", "host"}},
       .gain = "peer access, and the whole GPU",
       .guide = {12, 23},
       .explains = kNoPeers},
      {.code = "wsl2",
       .severity = Severity::kWarning,
       .title = "this is Windows' subsystem for Linux",
       .stops = {"p2p"},
       .find = [](const MachineFacts& facts) -> Observations {
         if (!facts.host.wsl || num_gpus(facts) < 2) return {};
         return {{"/proc/version: kernel " + facts.host.kernel + " of Microsoft"}};
       },
       .cause = "Windows' driver model gives GeForce cards no peer access, and legacy IPC does not exist. native goes "
                "through host memory and works.",
       .remedy = {{"use native", "tandem run MODEL --tp-backend native"},
                  {"for peer access: Linux on the machine itself", "", "by hand"}},
       .gain = "p2p, and NCCL's full speed",
       .guide = {12, 97},
       .explains = {"no-peer-access", "partial-mesh", "geforce-no-p2p", "chipset-no-p2p", "topology-no-p2p"}},
      {.code = "patched-module-without-bar1",
       .severity = Severity::kError,
       .title = "GeForce cards have peer access, and BAR1 does not cover their memory",
       .stops = {"p2p", "nccl"},
       .find = [](const MachineFacts& facts) { return find_small_bar1(facts, true); },
       .cause =
           "NVIDIA's own module gives GeForce cards none over PCI Express: this one is patched. It maps peers through "
           "BAR1, which must be as large as the memory; what lies beyond is lost.",
       .remedy = {{"turn on Above 4G Decoding and Resizable BAR", "", "firmware, reboot"},
                  {"see whether it took", "nvidia-smi -q -d MEMORY"},
                  {"and let the patched module map all of it",
                   "options nvidia NVreg_RegistryDwords=\"RMForceStaticBar1=1\"", "root, reboot"},
                  {"verify", "tandem check"}},
       .gain = "p2p that works",
       .guide = {12, 15},
       .explains = kWrongResults},
      {.code = "bar1-too-small",
       .severity = Severity::kWarning,
       .title = "BAR1 does not cover a GPU's memory",
       .stops = {"p2p"},
       .find = [](const MachineFacts& facts) { return find_small_bar1(facts, false); },
       .cause =
           "Peers over PCI Express are mapped through BAR1. Where it is smaller than the memory, mappings fail once it "
           "is full.",
       .remedy = {{"turn on Above 4G Decoding and Resizable BAR", "", "firmware, reboot"},
                  {"see whether it took", "nvidia-smi -q -d MEMORY"}},
       .gain = "p2p for all of the memory",
       .guide = {12, 15},
       .explains = {"map-failed"}},
      {.code = "geforce-no-p2p",
       .severity = Severity::kWarning,
       .title = "the driver gives GeForce cards no peer access over PCI Express",
       .stops = {"p2p"},
       .find = [](const MachineFacts& facts) -> Observations { return pairs_where(facts, is_geforce_policy); },
       .cause =
           "A policy of NVIDIA's driver for the 30, 40 and 50 series, not a fault of this machine. Over NVLink, which "
           "of these only the RTX 3090 and 3090 Ti have, access is given.",
       .remedy =
           {{"nothing need be done: NCCL and native serve", "tandem check"},
            {"RTX 3090: an NVLink bridge between two cards", "", "hardware"},
            {"at your own risk: a patched open module (github.com/aikitoria/open-gpu-kernel-modules), which NVIDIA "
             "does not support. It needs Resizable BAR and no IOMMU translation; verify it with tandem check",
             "", "root, firmware, reboot"}},
       .gain = "lower latency of each all-reduce, which decides the speed of decode",
       .guide = {12, 16, 82, 92},
       .explains = {"no-peer-access", "partial-mesh", "chipset-no-p2p"}},
      {.code = "p2p-disabled-by-registry",
       .severity = Severity::kWarning,
       .title = "an option of the driver turns peer access off",
       .stops = {"p2p", "nccl"},
       .find =
           [](const MachineFacts& facts) {
             return pairs_where(facts, [](const PairFacts& pair, const GpuFacts& from, const GpuFacts& to) {
               return has_status(pair, from, to, "DR");
             });
           },
       .cause = "NVreg_RegistryDwords of the module nvidia has a key that disables it.",
       .remedy = {{"find it", "grep -r NVreg_ /etc/modprobe.d /proc/driver/nvidia/params"},
                  {"remove it and load the module anew", "sudo update-initramfs -u && sudo reboot", "root, reboot"}},
       .gain = "p2p",
       .guide = {12, 24},
       .explains = kNoPeers},
      {.code = "chipset-no-p2p",
       .severity = Severity::kWarning,
       .title = "the driver does not trust the chipset with peer access",
       .stops = {"p2p", "nccl"},
       .find =
           [](const MachineFacts& facts) {
             return pairs_where(facts, [](const PairFacts& pair, const GpuFacts& from, const GpuFacts& to) {
               return has_status(pair, from, to, "CNS");
             });
           },
       .cause =
           "CNS: the driver's list of chipsets does not have this one, or translation by the IOMMU stands in the way.",
       .remedy = {{"GPUs below one PCI Express switch need no chipset", "", "by hand"},
                  {"boot with iommu=pt and look again", "nvidia-smi topo -p2p r", "root, reboot"}},
       .gain = "p2p",
       .guide = {12, 24},
       .explains = kNoPeers},
      {.code = "topology-no-p2p",
       .severity = Severity::kWarning,
       .title = "the driver gives no peer access over this path",
       .stops = {"p2p"},
       .find =
           [](const MachineFacts& facts) {
             return pairs_where(facts, [](const PairFacts& pair, const GpuFacts& from, const GpuFacts& to) {
               return has_status(pair, from, to, "TNS") || has_status(pair, from, to, "GNS");
             });
           },
       .cause = "TNS: the two are below different roots or sockets; GNS: one of the GPUs is of a kind that has none.",
       .remedy = {{"use GPUs of one root", "nvidia-smi topo -m"}, {"or put the cards below one root", "", "by hand"}},
       .gain = "p2p",
       .guide = {12, 24},
       .explains = kNoPeers},
      {.code = "nvlink-without-access",
       .severity = Severity::kWarning,
       .title = "there is NVLink between two GPUs, and no peer access",
       .stops = {"p2p", "nccl"},
       .find =
           [](const MachineFacts& facts) {
             return pairs_where(facts, [](const PairFacts& pair, const GpuFacts&, const GpuFacts&) {
               return !over_pcie(pair) && !has_access(pair);
             });
           },
       .cause = "GPUs with NVLink between them are peers as a rule. Machines with NVSwitch need their fabric manager, "
                "containers all GPUs of a link.",
       .remedy = {{"see the links", "nvidia-smi nvlink --status"},
                  {"machines with NVSwitch", "systemctl status nvidia-fabricmanager"}},
       .gain = "p2p over NVLink",
       .guide = {25, 89},
       .explains = kNoPeers},
      {.code = "no-peer-access",
       .severity = Severity::kWarning,
       .title = "the driver gives no pair of GPUs access to each other",
       .stops = {"p2p"},
       .find = [](const MachineFacts& facts) { return find_missing_access(facts, true); },
       .cause = "Nothing of what is known of the machine says why.",
       .remedy = {{"see what the driver says of each pair", "nvidia-smi topo -p2p r"}},
       .gain = "p2p",
       .guide = {8, 12, 24}},
      {.code = "partial-mesh",
       .severity = Severity::kWarning,
       .title = "the driver gives some pairs of GPUs access to each other, and others none",
       .stops = {"p2p"},
       .find = [](const MachineFacts& facts) { return find_missing_access(facts, false); },
       .cause = "p2p needs every pair. Nothing of what is known of the machine says why some have none.",
       .remedy = {{"a group of GPUs that all reach each other can use p2p", "tandem check --devices 0,1"},
                  {"see what the driver says of each pair", "nvidia-smi topo -p2p r"}},
       .gain = "p2p",
       .guide = {8, 12, 24, 92}},
      {.code = "peer-limit",
       .severity = Severity::kWarning,
       .title = "there are more GPUs than one GPU can have peers",
       .stops = {"p2p"},
       .find = [](const MachineFacts& facts) -> Observations {
         if (facts.fabric.gpus.size() <= kMostPeers + 1 || !has_pcie_pairs(facts)) return {};
         return {{format("{} GPUs, and {} peers at most without NVSwitch", facts.fabric.gpus.size(), kMostPeers)}};
       },
       .cause = "CUDA lets a GPU have eight peers over PCI Express (error 711).",
       .remedy = {{"nine GPUs or fewer", "tandem run MODEL --devices 0,1,2,3,4,5,6,7"}},
       .gain = "p2p",
       .guide = {11, 12},
       .explains = {"map-failed"}},
      {.code = "not-probed",
       .severity = Severity::kInfo,
       .title = "pairs of GPUs were not verified",
       .stops = {"p2p"},
       .find =
           [](const MachineFacts& facts) {
             return pairs_where(facts, [](const PairFacts& pair, const GpuFacts& from, const GpuFacts& to) {
               return has_access(pair) && pair.probe.outcome == ProbeOutcome::kNotTried && from.index != to.index;
             });
           },
       .cause = "The driver claims access; nobody has written and read.",
       .remedy = {{"verify them", "tandem check"}},
       .gain = "p2p",
       .guide = {13, 66}},
      {.code = "failed",
       .severity = Severity::kError,
       .title = "a back-end does not work here",
       .find = [](const MachineFacts& facts) -> Observations {
         Observations seen;
         for (const BackendFacts& backend : facts.fabric.backends) {
           if (backend.works || backend.name == "nccl") continue;
           seen.push_back({format("{}: {}", backend.name, backend.detail)});
         }
         return seen;
       },
       .cause = "It was tried, and gave an error or wrong results. What it said is above.",
       .remedy = {{"see what the others do", "tandem check"}},
       .gain = "one more way to communicate",
       .guide = {9, 62}},
  };
}

}  // namespace

std::vector<FindingRow> peer_findings() {
  std::vector<FindingRow> rows = access_findings();
  for (FindingRow& row : pair_findings()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace tandem
