// How fast the links are: lanes, generations, errors.
#include <algorithm>

#include "base/format.h"
#include "base/median.h"
#include "diagnose/doctor/facts_query.h"
#include "diagnose/doctor/findings.h"

namespace tandem {
namespace {

constexpr std::uint64_t kManyReplays = 100;  // a few since the start are usual, of both
// All links have errors, the more the longer they carry data: on two healthy H200s, minutes after their start, 17 to 66
// each, one 209. So it takes many, on a link that is far worse than its neighbours.
constexpr std::uint64_t kManyNvLinkErrors = 1000;
constexpr double kFarWorse = 10;
constexpr int kNarrow = 4;  // lanes

// Lanes that the slot has: what the port above can do.
std::optional<int> slot_width(const MachineFacts& facts, const PciDevice& gpu) {
  const PciDevice* port = pci_device(facts, gpu.parent);
  return port != nullptr ? port->max_link_width : std::nullopt;
}

Observations find_reduced_width(const MachineFacts& facts) {
  Observations seen;
  for (const PciDevice& gpu : our_pci_gpus(facts)) {
    if (!gpu.answers || !gpu.link_width || !gpu.max_link_width) continue;
    const int best = std::min(*gpu.max_link_width, slot_width(facts, gpu).value_or(*gpu.max_link_width));
    if (*gpu.link_width >= best || *gpu.link_width == 0) continue;
    seen.push_back({format("{}: current_link_width is {}, GPU and slot can {}", gpu_name(facts, gpu.address),
                           *gpu.link_width, best),
                    gpu.address});
  }
  if (!facts.pci.empty()) return seen;
  return each_gpu(facts, [](const GpuHealth& gpu) {
    if (!gpu.pcie_width || !gpu.max_pcie_width || *gpu.pcie_width >= *gpu.max_pcie_width) return std::string();
    return format("NVML: width {} of {}", *gpu.pcie_width, *gpu.max_pcie_width);
  });
}

Observations find_narrow_slot(const MachineFacts& facts) {
  Observations seen;
  for (const PciDevice& gpu : our_pci_gpus(facts)) {
    const auto width = slot_width(facts, gpu);
    if (!width || !gpu.max_link_width || *width > kNarrow || *width >= *gpu.max_link_width || *width == 0) continue;
    seen.push_back({format("{}: the port above, {}, has {} lane(s), the GPU {}", gpu_name(facts, gpu.address),
                           gpu.parent, *width, *gpu.max_link_width),
                    gpu.address});
  }
  return seen;
}

Observations find_old_slot(const MachineFacts& facts) {
  Observations seen;
  for (const PciDevice& gpu : our_pci_gpus(facts)) {
    const PciDevice* port = pci_device(facts, gpu.parent);
    if (port == nullptr || !port->max_link_gts || !gpu.max_link_gts || *port->max_link_gts >= *gpu.max_link_gts)
      continue;
    seen.push_back({format("{}: the port above, {}, does {:g} GT/s, the GPU {:g}", gpu_name(facts, gpu.address),
                           gpu.parent, *port->max_link_gts, *gpu.max_link_gts),
                    gpu.address});
  }
  return seen;
}

int active_links(const GpuHealth& gpu) {
  return static_cast<int>(
      std::count_if(gpu.nvlinks.begin(), gpu.nvlinks.end(), [](const NvLink& link) { return link.active; }));
}

Observations find_inactive_nvlinks(const MachineFacts& facts) {
  return each_gpu(facts, [](const GpuHealth& gpu) {
    const int active = active_links(gpu), all = static_cast<int>(gpu.nvlinks.size());
    const bool expected = active > 0 || !gpu.fabric_state.empty();
    return expected && active < all ? format("{} of {} NVLinks are active", active, all) : std::string();
  });
}

Observations find_unused_nvlinks(const MachineFacts& facts) {
  if (num_gpus(facts) < 2) return {};
  return each_gpu(facts, [](const GpuHealth& gpu) {
    const bool unused = !gpu.nvlinks.empty() && active_links(gpu) == 0 && gpu.fabric_state.empty();
    return unused ? format("none of {} NVLinks is active", gpu.nvlinks.size()) : std::string();
  });
}

Observations find_sockets(const MachineFacts& facts) {
  return each_pair(facts, [](const PairFacts& pair, const GpuFacts&, const GpuFacts&) {
    if (pair.link != "SYS") return std::string();
    if (pair.probe.latency_us <= 0) return std::string("over SYS");
    return format("over SYS, {:.2f} us, {:.1f} GB/s", pair.probe.latency_us, pair.probe.bandwidth / 1e9);
  });
}

}  // namespace

std::vector<FindingRow> link_findings() {
  return {
      {.code = "pcie-downtrained",
       .severity = Severity::kWarning,
       .title = "a PCI Express link has fewer lanes than GPU and slot can",
       .find = find_reduced_width,
       .cause =
           "Lanes that did not come up: a card that sits loose, a bent or dirty contact, a bad riser, or two slots "
           "that share lanes. Speed goes down when a link is idle, width does not.",
       .remedy = {{"see it under load", "sudo lspci -vv -s {} | grep -E 'LnkCap|LnkSta'", "root"},
                  {"seat card and riser anew; try another slot", "", "by hand"},
                  {"see in the board's manual which slots share lanes, and the firmware's bifurcation", "",
                   "firmware"}},
       .gain = "bandwidth in proportion to the lanes",
       .guide = {15, 29}},
      {.code = "pcie-narrow-slot",
       .severity = Severity::kWarning,
       .title = "a GPU is in a slot, or on a riser, of four lanes or fewer",
       .find = find_narrow_slot,
       .cause = "The port above it has no more. All ranks wait for the slowest link.",
       .remedy = {{"a slot or riser of eight lanes or more", "", "by hand, hardware"},
                  {"or leave that GPU out, where the others suffice", "tandem bench comm --devices 0,1"}},
       .gain = "bandwidth in proportion to the lanes",
       .guide = {15, 29}},
      {.code = "pcie-replays",
       .severity = Severity::kWarning,
       .title = "a PCI Express link repeats what it sent",
       .find =
           [](const MachineFacts& facts) {
             return each_gpu(facts, [](const GpuHealth& gpu) {
               const std::uint64_t replays = gpu.pcie_replays.value_or(0);
               return replays < kManyReplays ? "" : format("{} replays since the driver was loaded", replays);
             });
           },
       .cause = "Packets arrive broken and are sent again, which can halve the bandwidth without a message: a riser or "
                "cable that is too long or bad, or a generation too fast for it.",
       .remedy = {{"see whether the number grows under load", "nvidia-smi -q -i {} | grep -A3 Replay"},
                  {"another riser, or the slot's generation one lower in the firmware's setup", "",
                   "by hand, firmware"}},
       .gain = "up to twice the bandwidth",
       .guide = {29}},
      {.code = "nvlink-inactive",
       .severity = Severity::kWarning,
       .title = "some NVLinks of a GPU are not active",
       .find = find_inactive_nvlinks,
       .cause =
           "A bridge that sits loose or has fewer links than the card, a link that was retired after errors, or a GPU "
           "at the other end that is missing.",
       .remedy = {{"see which", "nvidia-smi nvlink --status -i {}"},
                  {"seat bridge and cards anew", "", "by hand"},
                  {"machines with NVSwitch", "journalctl -u nvidia-fabricmanager -b"}},
       .gain = "bandwidth in proportion to the links",
       .guide = {25, 89}},
      {.code = "nvlink-errors",
       .severity = Severity::kWarning,
       .title = "NVLinks have far more errors than others",
       .find =
           [](const MachineFacts& facts) {
             return each_gpu(facts, [](const GpuHealth& gpu) {
               std::string text;
               std::vector<double> of_all;
               for (const NvLink& link : gpu.nvlinks) of_all.push_back(static_cast<double>(link.errors.value_or(0)));
               const double usual = median(of_all);
               for (std::size_t i = 0; i < gpu.nvlinks.size(); ++i) {
                 const std::uint64_t errors = gpu.nvlinks[i].errors.value_or(0);
                 if (errors < kManyNvLinkErrors || static_cast<double>(errors) < kFarWorse * usual) continue;
                 text += format("{}link {}: {} errors", text.empty() ? "" : ", ", i, errors);
               }
               return text;
             });
           },
       .cause = "Packets arrive broken and are sent again. Many of them announce Xid 74.",
       .remedy = {{"see whether the number grows", "nvidia-smi nvlink -e -i {}"},
                  {"seat bridge and cards anew; clean the contacts", "", "by hand"}},
       .gain = "steadier times, and no Xid 74",
       .guide = {25}},
      {.code = "pcie-older-slot",
       .severity = Severity::kInfo,
       .title = "a slot is of an older generation than its GPU",
       .find = find_old_slot,
       .cause = "Board, CPU or the firmware's setup limits the speed of a lane.",
       .remedy = {{"see whether the firmware's setup limits the slot's generation", "", "firmware"}},
       .gain = "twice the bandwidth for each generation",
       .guide = {15, 29}},
      {.code = "nvlink-unused",
       .severity = Severity::kInfo,
       .title = "the GPUs have NVLink, and no bridge",
       .find = find_unused_nvlinks,
       .cause = "No link is active: there is no bridge between the cards, or it has no contact.",
       .remedy = {{"a bridge between each two cards", "", "hardware"}},
       .gain = "peer access, several times the bandwidth of PCI Express",
       .guide = {25, 89}},
      {.code = "cross-socket",
       .severity = Severity::kInfo,
       .title = "GPUs are on different sockets",
       .find = find_sockets,
       .cause = "Their way leads over the link between two CPUs: it works as a rule, slower than within one socket.",
       .remedy = {{"GPUs of one socket, where they suffice", "nvidia-smi topo -m\ntandem bench comm --devices 0,1"}},
       .gain = "lower latency within a socket",
       .guide = {12, 43}},
      {.code = "display-attached",
       .severity = Severity::kInfo,
       .title = "a display hangs on a GPU that computes",
       .find = [](const MachineFacts& facts) -> Observations {
         if (num_gpus(facts) < 2) return {};
         return each_gpu(facts, [](const GpuHealth& gpu) {
           return gpu.display_active.value_or(false) ? "NVML: a display is active" : "";
         });
       },
       .cause = "It takes memory and time, and with patched modules it was seen to break peer access "
                "(github.com/aikitoria/open-gpu-kernel-modules/issues/11).",
       .remedy = {{"plug the display into the board's own graphics, or into a GPU that does not compute", "",
                   "by hand"}},
       .gain = "some memory, steadier times",
       .guide = {12}},
  };
}

}  // namespace tandem
