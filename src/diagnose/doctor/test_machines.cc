#include "diagnose/doctor/test_machines.h"

#include <algorithm>

#include "base/error.h"

namespace tandem {
namespace {

constexpr std::uint64_t kGB = 1ull << 30;

struct Model {
  std::string name, compute_capability;
  std::uint64_t memory_bytes, bar1_bytes;
  double watts, limit_watts;
  int slowdown_celsius, sms;
  double gts;
  int nvlinks;
};

HostFacts host() {
  return {.os = "Debian GNU/Linux 12 (bookworm)",
          .kernel = "6.1.0",
          .cpus = 32,
          .sockets = 1,
          .numa_nodes = 1,
          .memory_bytes = 256 * kGB,
          .available_memory_bytes = 240 * kGB,
          .load_average = 0.5,
          .memlock_bytes = 8ull << 20,
          .shm_bytes = 128 * kGB,
          .free_shm_bytes = 128 * kGB,
          .iommu_active = false,
          .kernel_modules = {"nvidia", "nvidia_modeset", "nvidia_uvm"},
          .device_nodes = {{"/dev/nvidiactl", true, true, "0666", "root"},
                           {"/dev/nvidia-uvm", true, true, "0666", "root"}}};
}

MachineFacts machine_of(const Model& model, int count, const std::string& link) {
  MachineFacts facts;
  facts.host = host();
  facts.driver = {.version = "580.159.04",
                  .flavour = "open",
                  .cuda_version = "13.0",
                  .built_for_cuda = "12.4",
                  .nccl_found = true,
                  .nccl = "2.28.9"};
  facts.xids = std::vector<XidEvent>{};
  facts.fabric.driver = facts.driver.version;
  const auto major = model.compute_capability[0] - '0', minor = model.compute_capability[2] - '0';
  for (int i = 0; i < count; ++i) {
    const std::string address = format("0000:{}1:00.0", 1 + i);
    const std::string uuid = format("GPU-0000000{}-0000-4000-8000-00000000000{}", i, i);
    facts.host.device_nodes.push_back({format("/dev/nvidia{}", i), true, true, "0666", "root"});
    facts.gpus.push_back({.pci_address = address,
                          .name = model.name,
                          .uuid = uuid,
                          .compute_capability = model.compute_capability,
                          .index = i,
                          .memory_bytes = model.memory_bytes,
                          .used_memory_bytes = 600ull << 20,
                          .bar1_bytes = model.bar1_bytes,
                          .used_bar1_bytes = 2ull << 20,
                          .mig = false,
                          .display_active = false,
                          .persistence = true,
                          .compute_mode = "default",
                          .virtualization = "none",
                          .addressing_mode = "none",
                          .watts = model.watts,
                          .limit_watts = model.limit_watts,
                          .max_limit_watts = model.limit_watts,
                          .celsius = 41,
                          .slowdown_celsius = model.slowdown_celsius,
                          .sm_mhz = 1500,
                          .max_sm_mhz = 1980,
                          .pcie_generation = 4,
                          .max_pcie_generation = 4,
                          .pcie_width = 16,
                          .max_pcie_width = 16,
                          .pcie_replays = 0,
                          .ecc = true,
                          .uncorrected_ecc_errors = 0,
                          .pending_row_remap = false,
                          .nvlinks = std::vector<NvLink>(static_cast<std::size_t>(model.nvlinks),
                                                         {.active = true, .version = 4, .errors = 0})});
    facts.pci.push_back({.address = address,
                         .vendor = "0x10de",
                         .device = "0x2330",
                         .kind = "gpu",
                         .driver = "nvidia",
                         .link_gts = model.gts,
                         .max_link_gts = model.gts,
                         .link_width = 16,
                         .max_link_width = 16,
                         .numa_node = 0,
                         .iommu_group = 30 + i,
                         .iommu_group_type = "identity",
                         .bar1_bytes = model.bar1_bytes});
    facts.fabric.gpus.push_back({.index = i,
                                 .name = model.name,
                                 .uuid = uuid,
                                 .pci_address = address,
                                 .major = major,
                                 .minor = minor,
                                 .num_sms = model.sms,
                                 .memory_bytes = model.memory_bytes,
                                 .is_mig = false});
  }
  for (int from = 0; from < count; ++from) {
    for (int to = 0; to < count; ++to) {
      if (from == to) continue;
      facts.fabric.pairs.push_back(
          {.from = from,
           .to = to,
           .link = link,
           .can_access = true,
           .probe = {.outcome = ProbeOutcome::kPassed, .rounds = 1'000'000, .latency_us = 1.2, .bandwidth = 40e9},
           .p2p_status = "OK"});
    }
  }
  facts.fabric.backends = {{"nccl", true, "2.28.9"}, {"native", true}};
  for (const auto& [backend, microseconds] : {std::pair("p2p", 9.0), {"nccl", 21.0}, {"native", 60.0}}) {
    facts.fabric.calls.push_back({backend, Collective::kAllReduce, 64 << 10, microseconds});
  }
  return facts;
}

PciDevice bridge(const std::string& address, const std::string& kind, const std::string& parent, double gts) {
  return {.address = address,
          .vendor = "0x1000",
          .device = "0xc030",
          .kind = kind,
          .driver = "pcieport",
          .parent = parent,
          .link_gts = gts,
          .max_link_gts = gts,
          .link_width = 16,
          .max_link_width = 16,
          .acs_redirects = false};
}

}  // namespace

void set_access(MachineFacts& facts, bool can_access, const std::string& p2p_status) {
  for (PairFacts& pair : facts.fabric.pairs) {
    pair.can_access = can_access;
    pair.p2p_status = p2p_status;
    pair.probe = {.outcome = ProbeOutcome::kNoAccess};
    if (can_access) {
      pair.probe = {.outcome = ProbeOutcome::kPassed, .rounds = 1'000'000, .latency_us = 1.6, .bandwidth = 24e9};
    }
  }
}

void set_links(MachineFacts& facts, const std::string& link) {
  for (PairFacts& pair : facts.fabric.pairs) pair.link = link;
}

PairFacts& pair_of(MachineFacts& facts, int from, int to) {
  auto& pairs = facts.fabric.pairs;
  const auto found =
      std::find_if(pairs.begin(), pairs.end(), [&](const PairFacts& p) { return p.from == from && p.to == to; });
  TANDEM_CHECK(found != pairs.end(), "no pair {}, {}", from, to);
  return *found;
}

MachineFacts healthy_h200x4() {
  MachineFacts facts = machine_of({.name = "NVIDIA H200",
                                   .compute_capability = "9.0",
                                   .memory_bytes = 141 * kGB,
                                   .bar1_bytes = 256 * kGB,
                                   .watts = 120,
                                   .limit_watts = 700,
                                   .slowdown_celsius = 87,
                                   .sms = 132,
                                   .gts = 32,
                                   .nvlinks = 18},
                                  4, "NV18");
  for (GpuHealth& gpu : facts.gpus) gpu.fabric_state = "completed";
  for (std::size_t i = 0; i < 4; ++i) {
    const std::string bus = format("0000:{}", 1 + i);
    facts.pci[i].parent = bus + "0:01.0";
    facts.pci.push_back(bridge(bus + "0:00.0", "root-port", "", 32));
    facts.pci.push_back(bridge(bus + "0:00.1", "switch-up", bus + "0:00.0", 32));
    facts.pci.push_back(bridge(bus + "0:01.0", "switch-down", bus + "0:00.1", 32));
  }
  return facts;
}

MachineFacts rtx3090s(int count) {
  MachineFacts facts = machine_of({.name = "NVIDIA GeForce RTX 3090",
                                   .compute_capability = "8.6",
                                   .memory_bytes = 24 * kGB,
                                   .bar1_bytes = 256ull << 20,
                                   .watts = 30,
                                   .limit_watts = 350,
                                   .slowdown_celsius = 95,
                                   .sms = 82,
                                   .gts = 16,
                                   .nvlinks = 4},
                                  count, "NV4");
  for (std::size_t i = 0; i < facts.gpus.size(); ++i) {
    facts.pci[i].parent = format("0000:00:0{}.0", i + 1);
    facts.pci.push_back(bridge(facts.pci[i].parent, "root-port", "", 16));
    facts.gpus[i].ecc = std::nullopt;
    facts.gpus[i].uncorrected_ecc_errors = std::nullopt;
  }
  for (PairFacts& pair : facts.fabric.pairs) {
    if (pair.from / 2 == pair.to / 2) continue;
    pair = {.from = pair.from,
            .to = pair.to,
            .link = "PHB",
            .can_access = false,
            .probe = {.outcome = ProbeOutcome::kNoAccess},
            .p2p_status = "CNS"};
  }
  return facts;
}

MachineFacts healthy_rtx3090x2() {
  return rtx3090s(2);
}

MachineFacts healthy_rtx6000x2() {
  MachineFacts facts = machine_of({.name = "NVIDIA RTX 6000 Ada Generation",
                                   .compute_capability = "8.9",
                                   .memory_bytes = 48 * kGB,
                                   .bar1_bytes = 64 * kGB,
                                   .watts = 30,
                                   .limit_watts = 300,
                                   .slowdown_celsius = 92,
                                   .sms = 142,
                                   .gts = 16,
                                   .nvlinks = 0},
                                  2, "PIX");
  facts.pci.push_back(bridge("0000:00:01.0", "root-port", "", 16));
  facts.pci.push_back(bridge("0000:01:00.0", "switch-up", "0000:00:01.0", 16));
  for (std::size_t i = 0; i < 2; ++i) {
    facts.pci[i].parent = format("0000:02:0{}.0", i);
    facts.pci.push_back(bridge(facts.pci[i].parent, "switch-down", "0000:01:00.0", 16));
  }
  return facts;
}

}  // namespace tandem
