// Health of each GPU.
#include <algorithm>
#include <map>
#include <set>

#include "base/format.h"
#include "diagnose/doctor/facts_query.h"
#include "diagnose/doctor/findings.h"
#include "diagnose/doctor/xids.h"

namespace tandem {
namespace {

constexpr std::uint64_t kMuchMemory = 256 << 20;  // less is a desktop's, or a monitoring tool's
constexpr double kShareOfSupply = 0.8;            // the rest is the machine's, and that of peaks

const Xid* known_xid(int code) {
  const auto* found =
      std::find_if(std::begin(kXids), std::end(kXids), [&](const Xid& xid) { return xid.code == code; });
  return found == std::end(kXids) ? nullptr : found;
}

Observations find_xids(const MachineFacts& facts, bool of_program) {
  Observations seen;
  for (const XidEvent& event : facts.xids.value_or(std::vector<XidEvent>{})) {
    const Xid* xid = known_xid(event.code);
    if (event.code == 79 || (xid != nullptr && xid->of_program) != of_program) continue;
    seen.push_back({format("{}: Xid {}, {} time(s) in the kernel's log: {}", gpu_name(facts, event.pci_address),
                           event.code, event.times, xid != nullptr ? xid->meaning : "see NVIDIA's list of Xids"),
                    event.pci_address});
  }
  return seen;
}

Observations find_fallen(const MachineFacts& facts) {
  Observations seen;
  // A container is given some of the host's GPUs, and NVML shows none whose node cannot be opened.
  const auto& nodes = facts.host.device_nodes;
  const bool all_should_show = !facts.gpus.empty() && facts.host.container.empty() &&
                               std::all_of(nodes.begin(), nodes.end(), [](const DeviceNode& n) { return n.usable; });
  for (const PciDevice& gpu : pci_gpus(facts)) {
    if (!gpu.answers) {
      seen.push_back({format("/sys/bus/pci/devices/{}/config reads as all ones", gpu.address), gpu.address});
    } else if (gpu.driver == "nvidia" && all_should_show && gpu_at(facts, gpu.address) == nullptr) {
      seen.push_back(
          {format("{} is on the bus, bound to nvidia, and NVML does not show it", gpu.address), gpu.address});
    }
  }
  for (const XidEvent& event : facts.xids.value_or(std::vector<XidEvent>{})) {
    if (event.code == 79)
      seen.push_back({format("{}: Xid 79 in the kernel's log", event.pci_address), event.pci_address});
  }
  return seen;
}

Observations with_compute_mode(const MachineFacts& facts, std::string_view mode) {
  return each_gpu(facts, [&](const GpuHealth& gpu) {
    return gpu.compute_mode.starts_with(mode) ? "compute mode is " + gpu.compute_mode : std::string();
  });
}

Observations throttled(const MachineFacts& facts, std::string_view word) {
  return each_gpu(facts, [&](const GpuHealth& gpu) {
    std::string text;
    for (const std::string& reason : gpu.throttle_reasons) {
      if (mentions(reason, word)) text += (text.empty() ? "NVML: " : ", ") + reason;
    }
    if (text.empty()) return text;
    if (gpu.celsius) text += format(", {} C", *gpu.celsius);
    if (gpu.slowdown_celsius) text += format(" of {} C", *gpu.slowdown_celsius);
    if (gpu.watts && gpu.limit_watts) text += format(", {:.0f} W of {:.0f} W", *gpu.watts, *gpu.limit_watts);
    if (gpu.sm_mhz && gpu.max_sm_mhz) text += format(", {} MHz of {} MHz", *gpu.sm_mhz, *gpu.max_sm_mhz);
    return text;
  });
}

Observations find_weak_supply(const MachineFacts& facts) {
  if (!facts.supply_watts) return {};
  double sum = 0;
  int with_limit = 0;
  for (const GpuHealth& gpu : facts.gpus) {
    sum += gpu.limit_watts.value_or(0);
    with_limit += gpu.limit_watts ? 1 : 0;
  }
  const double share = kShareOfSupply * *facts.supply_watts;
  if (with_limit == 0 || sum <= share) return {};
  Observations seen;
  for (const GpuHealth& gpu : facts.gpus) {
    if (!gpu.limit_watts) continue;
    seen.push_back({format("{}: may take {:.0f} W", gpu_name(facts, gpu.pci_address), *gpu.limit_watts)});
  }
  seen.push_back(
      {format("together {:.0f} W, on a supply of {:.0f} W, of which 80 % are {:.0f} W: {:.0f} W for each GPU", sum,
              *facts.supply_watts, share, share / with_limit),
       format("{:.0f}", share / with_limit)});
  return seen;
}

Observations find_other_processes(const MachineFacts& facts) {
  return each_gpu(facts, [](const GpuHealth& gpu) {
    std::uint64_t sum = 0;
    std::string who;
    for (const GpuProcess& process : gpu.processes) {
      if (process.ours) continue;
      sum += process.memory_bytes.value_or(0);
      who += format("{}{}", who.empty() ? "" : ", ", process.pid);
    }
    if (sum < kMuchMemory) return std::string();
    return format("{} of {} held by process {}", size_text(sum), size_text(gpu.memory_bytes.value_or(0)), who);
  });
}

Observations find_mixed(const MachineFacts& facts) {
  std::set<std::string> kinds;
  for (const GpuHealth& gpu : facts.gpus) kinds.insert(gpu.compute_capability);
  if (kinds.size() < 2) return {};
  return each_gpu(facts, [](const GpuHealth& gpu) { return "compute capability " + gpu.compute_capability; });
}

Observations find_visible_devices(const MachineFacts& facts) {
  const auto visible = environment(facts, "CUDA_VISIBLE_DEVICES");
  const auto order = environment(facts, "CUDA_DEVICE_ORDER");
  Observations seen;
  std::map<std::string, int> by_address;
  for (const GpuHealth& gpu : facts.gpus) {
    if (gpu.index) {
      by_address[gpu.pci_address] = *gpu.index;
    } else if (facts.driver.no_cuda.empty() && !facts.driver.built_for_cuda.empty()) {
      seen.push_back({gpu_name(facts, gpu.pci_address), gpu.pci_address});
    }
  }
  int last = -1;
  bool reordered = false;
  for (const auto& [address, index] : by_address) {
    reordered = reordered || index < last;
    last = index;
  }
  if (reordered) {
    for (const auto& [address, index] : by_address) seen.push_back({gpu_name(facts, address), address});
  }
  if (seen.empty()) return {};
  seen.insert(seen.begin(), {format("CUDA_VISIBLE_DEVICES={}, CUDA_DEVICE_ORDER={}", visible.value_or("(not set)"),
                                    order.value_or("(not set)"))});
  return seen;
}

}  // namespace

std::vector<FindingRow> gpu_findings() {
  return {
      {.code = "gpu-fallen-off-bus",
       .severity = Severity::kError,
       .title = "a GPU does not answer any more",
       .stops = {"p2p", "nccl", "native"},
       .find = find_fallen,
       .cause =
           "Power that broke down under load, heat, a riser or cable that lost contact, or a defect. All that uses "
           "the GPU hangs or fails until it is reset.",
       .remedy = {{"start the machine anew: a reset of the GPU alone seldom helps", "sudo reboot", "root, reboot"},
                  {"again: power cables, one for each connector, seat of card and riser, temperatures", "", "by hand"},
                  {"lower its power limit to see whether the supply is the cause", "sudo nvidia-smi -pl WATTS",
                   "root"}},
       .gain = "the GPU, and an end to hangs",
       .guide = {9, 94, 108},
       .explains = {"cuda-unusable", "no-nvml", "no-peer-access", "partial-mesh", "map-failed", "message-lost"}},
      {.code = "xid-hardware",
       .severity = Severity::kError,
       .title = "the kernel's log has errors of a GPU",
       .stops = {"p2p", "nccl", "native"},
       .find = [](const MachineFacts& facts) { return find_xids(facts, false); },
       .cause = "The driver wrote Xid messages that speak of hardware, power or driver, not of a program.",
       .remedy = {{"see when, and what went before", "sudo dmesg -T | grep -E 'NVRM|Xid'", "root"},
                  {"reset the GPU: nothing may use it", "sudo nvidia-smi --gpu-reset -i {}", "root"},
                  {"again after a reset: test it alone", "dcgmi diag -r 3", "root"}},
       .gain = "an end to aborted jobs and wrong results",
       .guide = {108}},
      {.code = "ecc-uncorrected",
       .severity = Severity::kError,
       .title = "a GPU's memory has errors that ECC cannot correct",
       .stops = {"p2p", "nccl", "native"},
       .find =
           [](const MachineFacts& facts) {
             return each_gpu(facts, [](const GpuHealth& gpu) {
               const std::uint64_t errors = gpu.uncorrected_ecc_errors.value_or(0);
               return errors == 0 ? "" : format("{} uncorrected errors since the driver was loaded", errors);
             });
           },
       .cause = "Cells of its memory are bad. What was in them was lost.",
       .remedy = {{"reset it: the driver takes the cells out of use", "sudo nvidia-smi --gpu-reset -i {}", "root"},
                  {"see whether more come", "nvidia-smi -q -d ECC,ROW_REMAPPER -i {}"},
                  {"more come: have it replaced", "", "hardware"}},
       .gain = "results that can be trusted",
       .guide = {15, 108}},
      {.code = "row-remap-pending",
       .severity = Severity::kWarning,
       .title = "a GPU waits for a reset to take bad memory out of use",
       .find =
           [](const MachineFacts& facts) {
             return each_gpu(facts, [](const GpuHealth& gpu) {
               return gpu.pending_row_remap.value_or(false) ? "NVML: a row remapping is pending" : "";
             });
           },
       .cause = "A row of its memory failed, and its spare is used from the next reset on.",
       .remedy = {{"reset it: nothing may use it", "sudo nvidia-smi --gpu-reset -i {}", "root"}},
       .gain = "no error in the middle of a job",
       .guide = {15, 108}},
      {.code = "mig",
       .severity = Severity::kWarning,
       .title = "a GPU is cut into slices (MIG)",
       .stops = {"p2p", "nccl"},
       .find = [](const MachineFacts& facts) -> Observations {
         if (num_gpus(facts) < 2) return {};
         Observations seen = each_gpu(
             facts, [](const GpuHealth& gpu) { return gpu.mig.value_or(false) ? "NVML: MIG mode is enabled" : ""; });
         for (const GpuFacts& gpu : facts.fabric.gpus) {
           if (gpu.is_mig && seen.empty()) seen.push_back({format("cuda:{} is a slice of {}", gpu.index, gpu.name)});
         }
         return seen;
       },
       .cause = "Slices have no peers, and NCCL does not serve them; native does.",
       .remedy = {{"turn MIG off: nothing may use the GPU", "sudo nvidia-smi -i {} -mig 0", "root"}},
       .gain = "peer access, and the whole GPU",
       .guide = {6, 12},
       .explains = {"no-peer-access", "partial-mesh", "nvlink-without-access", "nvlink-inactive"}},
      {.code = "compute-mode-prohibited",
       .severity = Severity::kError,
       .title = "a GPU is closed to computing",
       .stops = {"p2p", "nccl", "native"},
       .find = [](const MachineFacts& facts) { return with_compute_mode(facts, "prohibited"); },
       .cause = "Somebody set its compute mode to prohibited: no process can use it.",
       .remedy = {{"open it", "sudo nvidia-smi -i {} -c DEFAULT", "root"}},
       .gain = "the GPU",
       .guide = {6},
       .explains = {"cuda-unusable"}},
      {.code = "compute-mode-exclusive",
       .severity = Severity::kWarning,
       .title = "a GPU takes one process at a time",
       .find = [](const MachineFacts& facts) { return with_compute_mode(facts, "exclusive"); },
       .cause =
           "Its compute mode is exclusive. Tandem runs its ranks in one process; a second program, or Tandem twice, "
           "is refused, as is Tandem while another has the GPU.",
       .remedy = {{"let several in", "sudo nvidia-smi -i {} -c DEFAULT", "root"}},
       .gain = "several programs on one GPU",
       .guide = {6}},
      {.code = "thermal-throttle",
       .severity = Severity::kWarning,
       .title = "a GPU slows down because it is hot",
       .find = [](const MachineFacts& facts) { return throttled(facts, "thermal"); },
       .cause = "Its clocks go down at its limit of temperature. All ranks wait for the slowest.",
       .remedy = {{"fans, dust, the gap between cards, the air of the room", "", "by hand"},
                  {"see what is hot, memory included", "nvidia-smi -q -d TEMPERATURE -i {}"},
                  {"a lower power limit costs less than throttling", "sudo nvidia-smi -i {} -pl WATTS", "root"}},
       .gain = "the clocks that it lost",
       .guide = {45, 47, 94}},
      {.code = "power-brake",
       .severity = Severity::kWarning,
       .title = "the machine's power supply slows a GPU down",
       .find = [](const MachineFacts& facts) { return throttled(facts, "power-brake"); },
       .cause = "The supply, or the board, asserts the power brake: it cannot deliver what is asked.",
       .remedy = {{"a stronger supply, or cables of their own for each card", "", "by hand, hardware"},
                  {"a lower power limit", "sudo nvidia-smi -i {} -pl WATTS", "root"}},
       .gain = "clocks, and no sudden restart",
       .guide = {93, 94}},
      {.code = "power-cap",
       .severity = Severity::kInfo,
       .title = "a GPU runs at its power limit",
       .find = [](const MachineFacts& facts) { return throttled(facts, "power-cap"); },
       .cause =
           "Usual under full load. Where the limit was lowered, it costs some speed; decode is bound by memory and "
           "loses little.",
       .remedy = {{"see the limits", "nvidia-smi -q -d POWER -i {}"}},
       .gain = "some clocks, for more power",
       .guide = {45, 93}},
      {.code = "power-supply",
       .severity = Severity::kWarning,
       .title = "the GPUs may take more power than the supply gives",
       .find = find_weak_supply,
       .cause =
           "The sum of the power limits is above 80 % of the supply that was declared; the rest of the machine and "
           "peaks of milliseconds, up to twice the limit, need room. It ends in restarts under load, or Xid 79.",
       .remedy = {{"cap each GPU at the share that is named above; it lasts until the next start",
                   "sudo nvidia-smi -pl {}", "root"},
                  {"or a stronger supply, or a second one", "", "by hand, hardware"}},
       .gain = "no restart under load",
       .guide = {93, 94}},
      {.code = "other-process-holds-memory",
       .severity = Severity::kWarning,
       .title = "other processes hold memory of a GPU",
       .find = find_other_processes,
       .cause = "They take memory, and time while they compute. All ranks wait for the slowest.",
       .remedy = {{"see who they are, and ask their owner", "nvidia-smi\nps -o pid,user,etime,args -p PID"},
                  {"or use other GPUs", "tandem run MODEL --devices 1,2"}},
       .gain = "memory for weights and cache, steadier speed",
       .guide = {30, 42, 48, 49}},
      {.code = "xid-program",
       .severity = Severity::kInfo,
       .title = "the kernel's log has faults of programs",
       .find = [](const MachineFacts& facts) { return find_xids(facts, true); },
       .cause = "A program on the GPU did what it must not. The GPU is sound as a rule; if the same comes from several "
                "programs, its memory may not be.",
       .remedy = {{"see which program", "sudo dmesg -T | grep Xid", "root"}},
       .gain = "knowing which program is wrong",
       .guide = {108}},
      {.code = "mixed-architectures",
       .severity = Severity::kInfo,
       .title = "the GPUs are of different generations",
       .find = find_mixed,
       .cause = "The driver gives no peer access across generations, and the slowest GPU sets the pace.",
       .remedy = {{"groups of one generation communicate fastest", "tandem check --devices 0,1"}},
       .gain = "peer access within a generation",
       .guide = {12, 17, 87, 88},
       .explains = {"no-peer-access", "partial-mesh", "chipset-no-p2p", "topology-no-p2p"}},
      {.code = "cuda-visible-devices",
       .severity = Severity::kInfo,
       .title = "CUDA numbers the GPUs in another way than nvidia-smi, or hides some",
       .find = find_visible_devices,
       .cause = "CUDA_VISIBLE_DEVICES hides and orders them; without CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA begins with the "
                "fastest. A number means another GPU in nvidia-smi then.",
       .remedy = {{"number them alike", "export CUDA_DEVICE_ORDER=PCI_BUS_ID"},
                  {"show all", "unset CUDA_VISIBLE_DEVICES"},
                  {"or name GPUs by UUID or PCI address", "tandem check --devices 0000:17:00.0,0000:2a:00.0"}},
       .gain = "the GPUs that were meant",
       .guide = {37, 101}},
      {.code = "persistence-off",
       .severity = Severity::kInfo,
       .title = "the driver lets go of idle GPUs",
       .find =
           [](const MachineFacts& facts) {
             return each_gpu(facts, [](const GpuHealth& gpu) {
               return gpu.persistence.value_or(true) ? "" : "NVML: persistence mode is off";
             });
           },
       .cause =
           "Without persistence the driver starts a GPU anew for each program, which takes seconds with many GPUs, "
           "and forgets power limits.",
       .remedy = {{"keep it", "sudo systemctl enable --now nvidia-persistenced", "root"}},
       .gain = "seconds of each start",
       .guide = {46}},
  };
}

}  // namespace tandem
