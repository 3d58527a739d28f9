// Machines that people have, each made up from a healthy one, as files in tests/snapshots; and what the doctor finds.
#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>

#include "base/format.h"
#include "diagnose/doctor/diagnosis.h"
#include "diagnose/doctor/test_machines.h"
#include "diagnose/machine/facts_json.h"

namespace tandem {
namespace {

constexpr std::uint64_t kGB = 1ull << 30;

struct Scenario {
  std::string name;      ///< of the file: doctor-NAME.json
  std::string composed;  ///< after what it was made up
  std::function<MachineFacts()> make;
  std::vector<std::string> expected;  ///< codes, in order
};

std::function<MachineFacts()> changed(const std::function<MachineFacts()>& healthy,
                                      const std::function<void(MachineFacts&)>& change) {
  return [=] {
    MachineFacts facts = healthy();
    change(facts);
    return facts;
  };
}

// Of a generation without NVLink.
void make_rtx4090(MachineFacts& facts, std::size_t gpu) {
  facts.gpus[gpu].name = facts.fabric.gpus[gpu].name = "NVIDIA GeForce RTX 4090";
  facts.gpus[gpu].compute_capability = "8.9";
  facts.fabric.gpus[gpu].minor = 9;
  facts.fabric.gpus[gpu].num_sms = 128;
  facts.gpus[gpu].limit_watts = facts.gpus[gpu].max_limit_watts = 450;
  facts.gpus[gpu].nvlinks = {};
}

MachineFacts stock_rtx4090s(int count) {
  MachineFacts facts = rtx3090s(count);
  for (std::size_t i = 0; i < facts.gpus.size(); ++i) make_rtx4090(facts, i);
  set_links(facts, "PHB");
  set_access(facts, false, "CNS");
  facts.fabric.calls.erase(facts.fabric.calls.begin());  // of p2p
  return facts;
}

void set_bar1(MachineFacts& facts, std::uint64_t bytes) {
  for (GpuHealth& gpu : facts.gpus) gpu.bar1_bytes = bytes;
  for (PciDevice& device : facts.pci) {
    if (device.kind == "gpu") device.bar1_bytes = bytes;
  }
}

void set_failures(MachineFacts& facts, ProbeOutcome outcome, const std::string& detail) {
  for (PairFacts& pair : facts.fabric.pairs) pair.probe = {.outcome = outcome, .rounds = 4096, .detail = detail};
  facts.fabric.calls.erase(facts.fabric.calls.begin());
}

MachineFacts patched_rtx3090x8() {
  MachineFacts facts = rtx3090s(8);
  for (GpuHealth& gpu : facts.gpus) {
    for (NvLink& link : gpu.nvlinks) link.active = false;
  }
  set_links(facts, "PHB");
  set_access(facts, true, "OK");
  set_bar1(facts, 32 * kGB);
  return facts;
}

void lose_cuda(MachineFacts& facts, const std::string& why) {
  facts.fabric = {};
  facts.fabric.no_gpus = facts.driver.no_cuda = why;
}

const std::vector<Scenario>& scenarios() {
  using F = MachineFacts;
  static const std::vector<Scenario> kAll = {
      {"geforce40-stock-driver",
       "two RTX 4090, NVIDIA's own driver",
       [] { return stock_rtx4090s(2); },
       {"geforce-no-p2p"}},
      {"rtx3090x4-nvlink-pairs", "four RTX 3090, two NVLink bridges", [] { return rtx3090s(4); }, {"geforce-no-p2p"}},
      {"rtx3090x8-patched-module",
       "eight RTX 3090, patched open module, Resizable BAR",
       patched_rtx3090x8,
       {"nvlink-unused"}},
      {"rtx3090x8-patched-small-bar1",
       "eight RTX 3090, patched open module, no Resizable BAR",
       changed(patched_rtx3090x8,
               [](F& f) {
                 set_bar1(f, 256 << 20);
                 set_failures(f, ProbeOutcome::kMapFailed, "cudaErrorMapBufferObjectFailed");
               }),
       {"patched-module-without-bar1", "nvlink-unused"}},
      {"iommu-translated",
       "two RTX 6000 Ada, the kernel's default for the IOMMU",
       changed(healthy_rtx6000x2,
               [](F& f) {
                 f.host.iommu_active = true;
                 for (PciDevice& device : f.pci) {
                   if (device.kind == "gpu") device.iommu_group_type = "DMA-FQ";
                 }
                 set_failures(f, ProbeOutcome::kCorrupt, "16 MB written, zeros read");
               }),
       {"iommu-translated"}},
      {"acs-redirect",
       "two RTX 6000 Ada below a switch whose ports redirect",
       changed(healthy_rtx6000x2,
               [](F& f) {
                 f.host.iommu_active = true;
                 for (PciDevice& device : f.pci) {
                   if (device.kind == "switch-down") device.acs_redirects = true;
                 }
               }),
       {"acs-redirect"}},
      {"two-sockets",
       "two RTX 6000 Ada, one at each of two sockets",
       changed(healthy_rtx6000x2,
               [](F& f) {
                 f.host.sockets = f.host.numa_nodes = 2;
                 f.pci[1].numa_node = 1;
                 set_links(f, "SYS");
               }),
       {"cross-socket"}},
      {"riser",
       "two RTX 3090 with a bridge, one on a riser of four lanes, the other loose in its slot",
       changed(healthy_rtx3090x2,
               [](F& f) {
                 f.pci[0].link_width = 8;
                 f.pci[1].link_width = 4;
                 for (PciDevice& device : f.pci) {
                   if (device.address == f.pci[1].parent) device.link_width = device.max_link_width = 4;
                 }
               }),
       {"pcie-downtrained", "pcie-narrow-slot"}},
      {"bar1-too-small",
       "two RTX 6000 Ada, Resizable BAR off",
       changed(healthy_rtx6000x2,
               [](F& f) {
                 set_bar1(f, 256 << 20);
                 set_failures(f, ProbeOutcome::kMapFailed, "cudaErrorMapBufferObjectFailed");
               }),
       {"bar1-too-small"}},
      {"container-defaults",
       "four H200 in a container with docker's defaults",
       changed(healthy_h200x4,
               [](F& f) {
                 f.host.container = "docker";
                 f.host.shm_bytes = f.host.free_shm_bytes = 64 << 20;
                 f.host.memlock_bytes = 64 << 10;
               }),
       {"shm-small", "memlock-small"}},
      {"missing-device-node",
       "four H200, the node of one was removed",
       changed(healthy_h200x4,
               [](F& f) {
                 f.host.device_nodes.back() = {.path = f.host.device_nodes.back().path};
                 f.gpus.pop_back();
                 f.fabric.gpus.pop_back();
                 std::erase_if(f.fabric.pairs, [](const PairFacts& p) { return p.from == 3 || p.to == 3; });
               }),
       {"device-node-missing"}},
      {"mig",
       "four H200, one of them cut into slices",
       changed(healthy_h200x4,
               [](F& f) {
                 f.gpus[0].mig = f.fabric.gpus[0].is_mig = true;
                 for (PairFacts& pair : f.fabric.pairs) {
                   if (pair.from != 0 && pair.to != 0) continue;
                   pair.can_access = false;
                   pair.p2p_status = "NS";
                   pair.probe = {.outcome = ProbeOutcome::kNoAccess};
                 }
               }),
       {"mig"}},
      {"vm-without-approval",
       "two RTX 6000 Ada passed through to a guest",
       changed(healthy_rtx6000x2,
               [](F& f) {
                 f.host.hypervisor = "kvm";
                 for (GpuHealth& gpu : f.gpus) gpu.virtualization = "passthrough";
                 set_links(f, "PHB");
                 set_access(f, false, "CNS");
               }),
       {"vm-without-p2p-approval"}},
      {"wsl2",
       "two RTX 4090 in Windows' subsystem for Linux",
       changed([] { return stock_rtx4090s(2); },
               [](F& f) {
                 f.host.wsl = true;
                 f.host.hypervisor = "hyper-v";
                 f.host.kernel = "5.15.153";
                 f.host.kernel_modules = {};
                 f.host.device_nodes = {{"/dev/dxg", true, true, "0666", "root"}};
                 f.pci = {};
                 f.xids = std::nullopt;
                 set_access(f, false, "NS");
               }),
       {"wsl2", "unread"}},
      {"driver-too-old",
       "four H200, driver 535",
       changed(healthy_h200x4,
               [](F& f) {
                 f.driver.version = "535.183.01";
                 f.driver.cuda_version = "12.2";
                 lose_cuda(f, "CUDA driver version is insufficient for CUDA runtime version");
               }),
       {"driver-too-old"}},
      {"driver-known-bad",
       "two RTX 6000 Ada, open driver 580.142 "
       "(github.com/NVIDIA/open-gpu-kernel-modules/issues/1257)",
       changed(healthy_rtx6000x2,
               [](F& f) {
                 f.driver.version = f.fabric.driver = "580.142";
                 set_links(f, "NODE");
                 set_failures(f, ProbeOutcome::kCorrupt, "16 MB written, other values read");
               }),
       {"driver-known-bad"}},
      {"mixed-architectures",
       "an RTX 3090 and an RTX 4090",
       changed(healthy_rtx3090x2,
               [](F& f) {
                 make_rtx4090(f, 1);
                 for (NvLink& link : f.gpus[0].nvlinks) link.active = false;
                 set_links(f, "PHB");
                 set_access(f, false, "CNS");
               }),
       {"mixed-architectures", "nvlink-unused"}},
      {"fallen-off-bus",
       "four H200, one does not answer",
       changed(healthy_h200x4,
               [](F& f) {
                 f.xids->push_back({.pci_address = f.gpus[3].pci_address, .code = 79, .times = 1});
                 f.pci[3].answers = false;
                 f.gpus.pop_back();
                 lose_cuda(f, "unknown error");
               }),
       {"gpu-fallen-off-bus"}},
      {"exclusive-compute-mode",
       "two RTX 6000 Ada in exclusive compute mode",
       changed(healthy_rtx6000x2,
               [](F& f) {
                 for (GpuHealth& gpu : f.gpus) gpu.compute_mode = "exclusive-process";
               }),
       {"compute-mode-exclusive"}},
      {"weak-power-supply",
       "four RTX 4090 of 450 W on a supply of 1000 W",
       changed([] { return stock_rtx4090s(4); }, [](F& f) { f.supply_watts = 1000; }),
       {"geforce-no-p2p", "power-supply"}},
      {"no-gpu",
       "a machine without a GPU",
       changed(healthy_h200x4,
               [](F& f) {
                 f.host.kernel_modules = {};
                 f.host.device_nodes = {};
                 f.pci = {};
                 f.gpus = {};
                 f.driver = {.built_for_cuda = "12.4", .no_nvml = "cannot load NVML: no such file"};
                 lose_cuda(f, "no CUDA-capable device is detected");
               }),
       {"no-gpu"}},
      {"thermal-throttling",
       "four H200, one of them hot",
       changed(healthy_h200x4,
               [](F& f) {
                 f.gpus[2].throttle_reasons = {"hw-slowdown", "hw-thermal-slowdown"};
                 f.gpus[2].celsius = 88;
                 f.gpus[2].sm_mhz = 900;
               }),
       {"thermal-throttle"}},
      {"memory-held",
       "four H200, another process has most of one",
       changed(healthy_h200x4,
               [](F& f) {
                 f.gpus[1].used_memory_bytes = 121 * kGB;
                 f.gpus[1].processes = {{.pid = 4711, .ours = false, .memory_bytes = 120 * kGB}};
               }),
       {"other-process-holds-memory"}},
  };
  return kAll;
}

std::string path_of(const Scenario& scenario) {
  return format("{}/tests/snapshots/doctor-{}.json", TANDEM_SOURCE_DIR, scenario.name);
}

std::vector<std::string> codes(const Diagnosis& diagnosis) {
  std::vector<std::string> all;
  for (const FoundCause& cause : diagnosis.causes) all.emplace_back(cause.finding.row->code);
  return all;
}

TEST(Scenarios, FilesAreWhatTheyWereMadeFrom) {
  const bool write = std::getenv("TANDEM_WRITE_SNAPSHOTS") != nullptr;
  for (const Scenario& scenario : scenarios()) {
    MachineFacts facts = scenario.make();
    facts.composed = scenario.composed;
    const std::string text = machine_facts_json(facts) + "\n";
    if (write) std::ofstream(path_of(scenario)) << text;
    std::ifstream file(path_of(scenario));
    std::stringstream there;
    there << file.rdbuf();
    EXPECT_TRUE(there.str() == text) << path_of(scenario) << ": write it anew with TANDEM_WRITE_SNAPSHOTS=1";
    EXPECT_EQ(read_machine_facts(path_of(scenario)), facts) << scenario.name;
  }
}

TEST(Scenarios, FindingsAreAsExpectedInOrder) {
  for (const Scenario& scenario : scenarios()) {
    const MachineFacts facts = read_machine_facts(path_of(scenario));
    EXPECT_NE(facts.composed, "");
    EXPECT_THAT(codes(diagnose(facts)), testing::ElementsAreArray(scenario.expected)) << scenario.name;
  }
}

// Of machines that are there: `tandem doctor --snapshot`, where all was well.
TEST(Recorded, HealthyMachinesHaveNoFindingOfWarningOrAbove) {
  for (const char* name : {"recorded-h200x2", "recorded-h200x2-one-used"}) {
    SCOPED_TRACE(name);
    const MachineFacts facts = read_machine_facts(format(TANDEM_SOURCE_DIR "/tests/snapshots/{}.json", name));
    EXPECT_EQ(facts.composed, "");
    EXPECT_EQ(redacted(facts), facts);
    EXPECT_TRUE(diagnose(facts).healthy()) << testing::PrintToString(codes(diagnose(facts)));
  }
}

}  // namespace
}  // namespace tandem
