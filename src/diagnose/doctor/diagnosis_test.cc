#include "diagnose/doctor/diagnosis.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/format.h"
#include "comm/trust/choice.h"
#include "diagnose/doctor/test_machines.h"

namespace tandem {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> codes(const Diagnosis& diagnosis) {
  std::vector<std::string> all;
  for (const FoundCause& cause : diagnosis.causes) all.emplace_back(cause.finding.row->code);
  return all;
}

// ---- one thing of a healthy machine is changed, and one finding appears

struct Mutation {
  std::string code;
  MachineFacts (*healthy)();
  std::function<void(MachineFacts&)> change;
  std::vector<std::string> with = {};  ///< consequences that the finding must hide
};

void set_outcome(MachineFacts& facts, ProbeOutcome outcome) {
  pair_of(facts, 0, 1).probe = {.outcome = outcome, .rounds = 4096, .detail = "lane 3"};
}

void without_driver(MachineFacts& facts) {
  facts.host.kernel_modules = {};
  facts.driver.version = {};
  facts.gpus = {};
  facts.fabric = {};
  facts.fabric.no_gpus = facts.driver.no_cuda = "no CUDA-capable device is detected";
  facts.driver.no_nvml = "cannot load NVML: libnvidia-ml.so.1: cannot open shared object file";
}

void add_xid(MachineFacts& facts, int code) {
  facts.xids->push_back({.pci_address = facts.gpus[1].pci_address, .code = code, .times = 2});
}

PciDevice& bridge_above(MachineFacts& facts, std::size_t gpu) {
  return *std::find_if(facts.pci.begin(), facts.pci.end(),
                       [&](const PciDevice& d) { return d.address == facts.pci[gpu].parent; });
}

const std::vector<Mutation>& mutations() {
  using F = MachineFacts;
  static const std::vector<Mutation> kAll = {
      {"no-gpu", healthy_h200x4, [](F& f) { f.gpus = {}, f.pci = {}, f.fabric = {}, f.driver = {}; }},
      {"built-without-cuda", healthy_h200x4,
       [](F& f) { f.driver.built_for_cuda = "", f.driver.no_cuda = "built without", f.fabric = {}; }},
      {"gpu-bound-to-vfio", healthy_h200x4, [](F& f) { f.pci[1].driver = "vfio-pci"; }},
      {"gpu-bound-to-nouveau", healthy_rtx3090x2, [](F& f) { f.pci[1].driver = "nouveau"; }},
      {"driver-missing", healthy_rtx3090x2, without_driver, {"cuda-unusable", "no-nvml"}},
      {"module-not-loaded",
       healthy_rtx3090x2,
       [](F& f) {
         without_driver(f);
         f.driver.no_nvml = "NVML does not start: Driver Not Loaded";
       },
       {"cuda-unusable", "no-nvml"}},
      {"driver-library-mismatch",
       healthy_h200x4,
       [](F& f) {
         f.gpus = {}, f.fabric = {};
         f.driver.no_nvml = "NVML does not start: Driver/library version mismatch";
       },
       {"no-nvml"}},
      {"driver-too-old", healthy_h200x4, [](F& f) { f.driver.version = "535.183.01", f.driver.cuda_version = "12.2"; }},
      {"driver-known-bad", healthy_rtx6000x2, [](F& f) { f.driver.version = "580.142"; }},
      {"cuda-unusable", healthy_h200x4, [](F& f) { f.driver.no_cuda = "initialization error"; }},
      {"device-node-missing", healthy_h200x4, [](F& f) { f.host.device_nodes[3].exists = false; }},
      {"device-node-denied", healthy_h200x4, [](F& f) { f.host.device_nodes[3].usable = false; }},
      {"container-without-devices",
       healthy_h200x4,
       [](F& f) {
         f.host.container = "docker", f.host.memlock_bytes = ~0ull, f.fabric = {}, f.gpus = {};
         for (DeviceNode& node : f.host.device_nodes) node.exists = node.usable = false;
         f.driver.no_cuda = f.driver.no_nvml = "cannot load it";
       },
       {"cuda-unusable", "no-nvml"}},
      {"driver-capabilities", healthy_h200x4,
       [](F& f) {
         f.host.container = "docker";
         f.host.memlock_bytes = ~0ull;
         f.host.environment["NVIDIA_DRIVER_CAPABILITIES"] = "compute";
       }},
      {"no-nvml", healthy_h200x4, [](F& f) { f.driver.no_nvml = "no such file"; }},
      {"nccl-missing", healthy_h200x4, [](F& f) { f.driver.nccl_found = false; }},

      {"gpu-fallen-off-bus", healthy_h200x4, [](F& f) { f.pci[2].answers = false; }},
      {"gpu-fallen-off-bus", healthy_rtx6000x2, [](F& f) { f.gpus.pop_back(); }},
      {"gpu-fallen-off-bus", healthy_rtx6000x2, [](F& f) { add_xid(f, 79); }},
      {"xid-hardware", healthy_h200x4, [](F& f) { add_xid(f, 48); }},
      {"xid-hardware", healthy_h200x4, [](F& f) { add_xid(f, 119); }},
      {"xid-hardware", healthy_h200x4, [](F& f) { add_xid(f, 154); }},
      {"xid-program", healthy_h200x4, [](F& f) { add_xid(f, 31); }},
      {"ecc-uncorrected", healthy_h200x4, [](F& f) { f.gpus[3].uncorrected_ecc_errors = 1; }},
      {"row-remap-pending", healthy_h200x4, [](F& f) { f.gpus[3].pending_row_remap = true; }},
      {"mig", healthy_h200x4, [](F& f) { f.gpus[0].mig = true; }},
      {"compute-mode-prohibited", healthy_h200x4, [](F& f) { f.gpus[0].compute_mode = "prohibited"; }},
      {"compute-mode-exclusive", healthy_h200x4, [](F& f) { f.gpus[0].compute_mode = "exclusive-process"; }},
      {"thermal-throttle", healthy_rtx3090x2, [](F& f) { f.gpus[1].throttle_reasons = {"hw-thermal-slowdown"}; }},
      {"power-brake", healthy_rtx3090x2, [](F& f) { f.gpus[1].throttle_reasons = {"hw-power-brake-slowdown"}; }},
      {"power-cap", healthy_rtx3090x2, [](F& f) { f.gpus[1].throttle_reasons = {"sw-power-cap"}; }},
      {"power-supply", healthy_rtx3090x2, [](F& f) { f.supply_watts = 850; }},
      {"other-process-holds-memory", healthy_h200x4,
       [](F& f) { f.gpus[2].processes = {{.pid = 4711, .ours = false, .memory_bytes = 60ull << 30}}; }},
      {"mixed-architectures", healthy_rtx3090x2, [](F& f) { f.gpus[1].compute_capability = "8.9"; }},
      {"cuda-visible-devices", healthy_h200x4, [](F& f) { f.gpus[2].index = std::nullopt; }},
      {"cuda-visible-devices", healthy_h200x4, [](F& f) { std::swap(f.gpus[0].index, f.gpus[1].index); }},
      {"persistence-off", healthy_h200x4, [](F& f) { f.gpus[2].persistence = false; }},

      {"fabric-manager",
       healthy_h200x4,
       [](F& f) {
         f.gpus[0].fabric_state = "in-progress";
         set_access(f, false, "NS");
       },
       {"nvlink-without-access", "no-peer-access"}},
      {"iommu-translated", healthy_rtx6000x2, [](F& f) { f.pci[0].iommu_group_type = "DMA-FQ"; }},
      {"iommu-translated",
       healthy_rtx6000x2,
       [](F& f) {
         f.pci[0].iommu_group_type = "DMA";
         set_outcome(f, ProbeOutcome::kCorrupt);
       },
       {"corrupt"}},
      {"iommu-translated",
       healthy_rtx6000x2,
       [](F& f) {
         f.pci[0].iommu_group_type = f.pci[1].iommu_group_type = "";
         f.host.iommu_active = true;
         set_outcome(f, ProbeOutcome::kLost);
       },
       {"message-lost"}},
      {"acs-redirect", healthy_rtx6000x2, [](F& f) { bridge_above(f, 1).acs_redirects = true; }},
      {"vm-without-p2p-approval",
       healthy_rtx6000x2,
       [](F& f) {
         f.host.hypervisor = "kvm";
         set_access(f, false, "CNS");
       },
       {"no-peer-access", "chipset-no-p2p"}},
      {"vgpu", healthy_rtx6000x2, [](F& f) { f.gpus[0].virtualization = "vgpu"; }},
      {"wsl2", healthy_rtx3090x2, [](F& f) { f.host.wsl = true; }},
      {"patched-module-without-bar1",
       healthy_rtx3090x2,
       [](F& f) {
         set_links(f, "PHB");
         set_outcome(f, ProbeOutcome::kMapFailed);
       },
       {"map-failed"}},
      {"bar1-too-small", healthy_rtx6000x2, [](F& f) { f.gpus[0].bar1_bytes = 256 << 20; }},
      {"geforce-no-p2p",
       healthy_rtx3090x2,
       [](F& f) {
         set_links(f, "PHB");
         set_access(f, false, "CNS");
       },
       {"no-peer-access"}},
      {"p2p-disabled-by-registry", healthy_rtx6000x2, [](F& f) { set_access(f, false, "DR"); }, {"no-peer-access"}},
      {"chipset-no-p2p", healthy_rtx6000x2, [](F& f) { set_access(f, false, "CNS"); }, {"no-peer-access"}},
      {"topology-no-p2p", healthy_rtx6000x2, [](F& f) { set_access(f, false, "TNS"); }, {"no-peer-access"}},
      {"nvlink-without-access", healthy_h200x4, [](F& f) { pair_of(f, 2, 3).can_access = false; }, {"partial-mesh"}},
      {"no-peer-access", healthy_rtx6000x2, [](F& f) { set_access(f, false, ""); }},
      {"partial-mesh", healthy_rtx6000x2, [](F& f) { pair_of(f, 1, 0).can_access = false; }},
      {"peer-limit", healthy_rtx6000x2,
       [](F& f) {
         for (int i = 2; i < 10; ++i) f.fabric.gpus.push_back(f.fabric.gpus[0]);
       }},
      {"not-probed", healthy_rtx6000x2, [](F& f) { set_outcome(f, ProbeOutcome::kNotTried); }},
      {"corrupt", healthy_rtx6000x2, [](F& f) { set_outcome(f, ProbeOutcome::kCorrupt); }},
      {"out-of-order", healthy_rtx6000x2, [](F& f) { set_outcome(f, ProbeOutcome::kOutOfOrder); }},
      {"message-lost", healthy_rtx6000x2, [](F& f) { set_outcome(f, ProbeOutcome::kLost); }},
      {"map-failed", healthy_rtx6000x2, [](F& f) { set_outcome(f, ProbeOutcome::kMapFailed); }},
      {"failed", healthy_h200x4, [](F& f) { f.fabric.backends[1] = {"native", false, "out of memory"}; }},

      {"pcie-downtrained", healthy_h200x4, [](F& f) { f.pci[1].link_width = 8; }},
      {"pcie-narrow-slot", healthy_rtx3090x2,
       [](F& f) { f.pci[1].link_width = bridge_above(f, 1).max_link_width = 4; }},
      {"pcie-replays", healthy_rtx3090x2, [](F& f) { f.gpus[1].pcie_replays = 12345; }},
      {"pcie-older-slot", healthy_rtx3090x2, [](F& f) { bridge_above(f, 1).max_link_gts = 8; }},
      {"nvlink-inactive", healthy_h200x4, [](F& f) { f.gpus[1].nvlinks[17].active = false; }},
      {"nvlink-errors", healthy_h200x4, [](F& f) { f.gpus[1].nvlinks[17].errors = 5000; }},
      {"nvlink-unused", healthy_rtx3090x2,
       [](F& f) {
         for (NvLink& link : f.gpus[1].nvlinks) link.active = false;
       }},
      {"cross-socket", healthy_rtx6000x2, [](F& f) { pair_of(f, 0, 1).link = "SYS"; }},
      {"display-attached", healthy_rtx3090x2, [](F& f) { f.gpus[0].display_active = true; }},

      {"shm-small", healthy_h200x4,
       [](F& f) {
         f.host.container = "docker", f.host.memlock_bytes = ~0ull;
         f.host.shm_bytes = 64 << 20;
       }},
      {"shm-small", healthy_h200x4, [](F& f) { f.host.free_shm_bytes = 1 << 20; }},
      {"memlock-small", healthy_h200x4, [](F& f) { f.host.container = "docker", f.host.memlock_bytes = 64 << 10; }},
      {"cuda-launch-blocking", healthy_h200x4, [](F& f) { f.host.environment["CUDA_LAUNCH_BLOCKING"] = "1"; }},
      {"nccl-p2p-disabled", healthy_h200x4, [](F& f) { f.host.environment["NCCL_P2P_DISABLE"] = "1"; }},
      {"nccl-p2p-disabled", healthy_h200x4, [](F& f) { f.host.environment["NCCL_P2P_LEVEL"] = "LOC"; }},
      {"host-memory-low", healthy_h200x4, [](F& f) { f.host.available_memory_bytes = 1ull << 30; }},
      {"host-busy", healthy_h200x4, [](F& f) { f.host.load_average = 99; }},
      {"iommu-option-unknown", healthy_h200x4, [](F& f) { f.host.kernel_options = {"amd_iommu=1"}; }},
      {"unread", healthy_h200x4, [](F& f) { f.unread = {{"/dev/kmsg", "Operation not permitted"}}; }},
      {"unread", healthy_h200x4, [](F& f) { f.xids = std::nullopt; }},
  };
  return kAll;
}

TEST(Doctor, HealthyMachinesHaveNoFinding) {
  for (const auto healthy : {healthy_h200x4, healthy_rtx3090x2, healthy_rtx6000x2}) {
    const MachineFacts facts = healthy();
    const Diagnosis diagnosis = diagnose(facts);
    EXPECT_THAT(codes(diagnosis), IsEmpty());
    EXPECT_TRUE(diagnosis.healthy());
    EXPECT_THAT(verdict(facts, diagnosis), HasSubstr("healthy: "));
  }
}

TEST(Doctor, OneChangeGivesItsFindingAndNoOther) {
  for (const Mutation& mutation : mutations()) {
    MachineFacts facts = mutation.healthy();
    mutation.change(facts);
    const Diagnosis diagnosis = diagnose(facts);
    EXPECT_THAT(codes(diagnosis), ElementsAre(mutation.code));
    const FoundCause* cause = diagnosis.find(mutation.code);
    if (cause == nullptr) continue;
    std::vector<std::string> consequences;
    for (const FoundFinding& finding : cause->consequences) consequences.emplace_back(finding.row->code);
    EXPECT_THAT(consequences, testing::UnorderedElementsAreArray(mutation.with)) << mutation.code;
    EXPECT_EQ(diagnosis.healthy(), cause->severity == Severity::kInfo) << mutation.code;
    for (const Observation& seen : cause->finding.seen) EXPECT_NE(seen.text, "");
  }
}

TEST(Doctor, EveryRowIsHitByAMutation) {
  std::set<std::string, std::less<>> hit;
  for (const Mutation& mutation : mutations()) hit.insert(mutation.code);
  for (const FindingRow& row : finding_table()) EXPECT_TRUE(hit.contains(row.code)) << row.code;
}

TEST(Doctor, EveryRowIsWhole) {
  std::set<std::string_view> seen;
  for (const FindingRow& row : finding_table()) {
    SCOPED_TRACE(row.code);
    EXPECT_TRUE(seen.insert(row.code).second) << "there twice";
    EXPECT_EQ(row.code.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"), std::string_view::npos);
    EXPECT_NE(row.code.front(), '-');
    EXPECT_NE(row.code.back(), '-');
    EXPECT_NE(row.title, "");
    EXPECT_NE(row.cause, "");
    EXPECT_NE(row.gain, "");
    EXPECT_NE(row.find, nullptr);
    EXPECT_FALSE(row.remedy.empty());
    for (const RemedyStep& step : row.remedy) {
      EXPECT_NE(step.what, "");
      for (std::string_view rest = step.needs; !rest.empty();) {
        const std::size_t end = std::min(rest.find(", "), rest.size());
        EXPECT_NE(std::find(std::begin(kNeeds), std::end(kNeeds), rest.substr(0, end)), std::end(kNeeds)) << rest;
        rest.remove_prefix(std::min(end + 2, rest.size()));
      }
    }
    EXPECT_FALSE(row.guide.empty());
    for (const int guide : row.guide) EXPECT_TRUE(guide >= 1 && guide <= 119) << guide;
    for (const std::string_view backend : row.stops) {
      EXPECT_TRUE(backend == "p2p" || backend == "nccl" || backend == "native") << backend;
    }
    for (const std::string_view code : row.explains) EXPECT_NE(find_row(code), nullptr) << code;
  }
}

// Else two findings could hide each other.
TEST(Doctor, NothingExplainsItself) {
  for (const FindingRow& row : finding_table()) {
    std::vector<std::string_view> open = row.explains;
    std::set<std::string_view> seen;
    while (!open.empty()) {
      const std::string_view code = open.back();
      open.pop_back();
      ASSERT_NE(code, row.code);
      if (!seen.insert(code).second) continue;
      for (const std::string_view next : find_row(code)->explains) open.push_back(next);
    }
  }
}

TEST(Doctor, TellsWhatStopsP2pFirst) {
  MachineFacts facts = healthy_rtx6000x2();
  facts.host.available_memory_bytes = 1 << 20;                    // a warning
  facts.fabric.backends[1] = {"native", false, "out of memory"};  // an error
  facts.pci[0].iommu_group_type = "DMA";                          // a warning that stops p2p
  facts.gpus[1].mig = true;                                       // another
  facts.gpus[0].persistence = false;                              // an info
  Diagnosis diagnosis = diagnose(facts);
  EXPECT_THAT(codes(diagnosis), ElementsAre("mig", "iommu-translated", "failed", "host-memory-low", "persistence-off"));
  set_outcome(facts, ProbeOutcome::kCorrupt);  // makes an error of that which explains it
  diagnosis = diagnose(facts);
  EXPECT_THAT(codes(diagnosis), ElementsAre("iommu-translated", "mig", "failed", "host-memory-low", "persistence-off"));
  EXPECT_EQ(diagnosis.causes[0].severity, Severity::kError);
  EXPECT_EQ(verdict(facts, diagnosis), "2 errors, 2 warnings; p2p is stopped or spoilt by iommu-translated, mig");
}

TEST(Doctor, ObservationsNameDeviceAndValue) {
  MachineFacts facts = healthy_h200x4();
  facts.pci[1].link_width = 8;
  const Diagnosis diagnosis = diagnose(facts);
  ASSERT_THAT(codes(diagnosis), ElementsAre("pcie-downtrained"));
  EXPECT_EQ(diagnosis.causes[0].finding.seen[0].text,
            "0000:21:00.0 (cuda:1, NVIDIA H200): current_link_width is 8, GPU and slot can 16");
}

TEST(Doctor, RootPortsMayRedirectAsLongAsNothingIsLost) {
  MachineFacts facts = healthy_rtx6000x2();
  PciDevice& root = *std::find_if(facts.pci.begin(), facts.pci.end(), [](auto& d) { return d.kind == "root-port"; });
  root.acs_redirects = true;
  EXPECT_THAT(codes(diagnose(facts)), IsEmpty());
  set_outcome(facts, ProbeOutcome::kLost);
  EXPECT_THAT(codes(diagnose(facts)), ElementsAre("acs-redirect"));
}

TEST(Doctor, TranslationDoesNotMatterOverNvLink) {
  MachineFacts facts = healthy_h200x4();
  for (PciDevice& device : facts.pci) device.iommu_group_type = "DMA-FQ";
  EXPECT_THAT(codes(diagnose(facts)), IsEmpty());
}

TEST(Doctor, LinksThatIdleSlowlyAreNoFinding) {
  MachineFacts facts = healthy_rtx3090x2();
  facts.pci[0].link_gts = 2.5;
  facts.gpus[0].pcie_generation = 1;
  EXPECT_THAT(codes(diagnose(facts)), IsEmpty());
}

TEST(Doctor, AContainerMayHaveSomeOfTheGpus) {
  MachineFacts facts = healthy_h200x4();
  facts.host.container = "docker";
  facts.host.memlock_bytes = ~0ull;
  facts.gpus.erase(facts.gpus.begin() + 1, facts.gpus.end());
  facts.fabric = {.gpus = {facts.fabric.gpus[0]}};
  facts.driver.nccl_found = false;  // nobody to talk to
  facts.pci[3].link_width = 8;      // of a GPU that is not ours
  EXPECT_THAT(codes(diagnose(facts)), IsEmpty());
}

TEST(Doctor, WhatAGpuDoesNotHaveIsNotUnread) {
  MachineFacts facts = healthy_rtx3090x2();
  facts.unread = {{"nvmlDeviceGetRemappedRows of 0000:11:00.0", "Not Supported"}};
  EXPECT_THAT(codes(diagnose(facts)), IsEmpty());
  facts.unread = {{"/sys/devices/pci0000:00/0000:00:01.0/config", "only 64 bytes of it are for this user"},
                  {"/sys/devices/pci0000:00/0000:00:02.0/config", "only 64 bytes of it are for this user"}};
  const Diagnosis diagnosis = diagnose(facts);
  ASSERT_THAT(codes(diagnosis), ElementsAre("unread"));
  ASSERT_EQ(diagnosis.causes[0].finding.seen.size(), 1u);
  EXPECT_THAT(diagnosis.causes[0].finding.seen[0].text, HasSubstr("0000:00:01.0/config and 1 more: only 64 bytes"));
  EXPECT_THAT(diagnosis.causes[0].finding.seen[0].text, HasSubstr("sudo tandem doctor --no-probe"));
}

TEST(Doctor, BuiltWithCuda13TheDriverMustServeIt) {
  MachineFacts facts = healthy_h200x4();
  facts.driver.version = "570.86.10";
  EXPECT_THAT(codes(diagnose(facts)), IsEmpty());
  facts.driver.built_for_cuda = "13.0";
  EXPECT_THAT(codes(diagnose(facts)), ElementsAre("driver-too-old"));
}

TEST(Doctor, FixPlanFillsCommandsInAndSaysThemOnce) {
  MachineFacts facts = healthy_rtx6000x2();
  for (PciDevice& device : facts.pci) {
    if (device.kind == "switch-down") device.acs_redirects = true;
  }
  facts.pci[0].iommu_group_type = "DMA";
  const Diagnosis diagnosis = diagnose(facts);
  const std::vector<PlannedStep> plan = fix_plan(diagnosis);
  std::multiset<std::string> commands;
  for (const PlannedStep& step : plan) commands.insert(step.commands.begin(), step.commands.end());
  EXPECT_EQ(commands.count("sudo setpci -s 0000:02:00.0 ECAP_ACS+6.w=0000"), 1u);
  EXPECT_EQ(commands.count("sudo setpci -s 0000:02:01.0 ECAP_ACS+6.w=0000"), 1u);
  EXPECT_EQ(commands.count("tandem check"), 1u);
  EXPECT_EQ(plan.front().code, "iommu-translated");
  EXPECT_EQ(plan.front().needs, "root, reboot");
}

TEST(Doctor, FixPlanNamesTheWattsOfEachGpu) {
  MachineFacts facts = healthy_rtx3090x2();
  facts.supply_watts = 850;
  const std::vector<PlannedStep> plan = fix_plan(diagnose(facts));
  EXPECT_THAT(plan.at(0).commands, ElementsAre("sudo nvidia-smi -pl 340"));
}

TEST(WhyNot, EndsAtTheFirstThatDoesNotHold) {
  MachineFacts facts = healthy_rtx3090x2();
  set_links(facts, "PHB");
  set_access(facts, false, "CNS");
  const Diagnosis diagnosis = diagnose(facts);
  const WhyNot why = explain_why_not(facts, diagnosis, "p2p");
  EXPECT_FALSE(why.serves);
  ASSERT_EQ(why.steps.size(), 3u);
  EXPECT_EQ(why.steps[2].question, "does the driver give every ordered pair access? 0 of 2");
  EXPECT_EQ(why.steps[2].answer, TreeStep::Answer::kNo);
  EXPECT_THAT(why.verdict, HasSubstr("[no-peer-access]"));
  ASSERT_EQ(why.explained_by.size(), 1u);
  EXPECT_EQ(why.explained_by[0]->finding.row->code, "geforce-no-p2p");
}

TEST(WhyNot, TellsMeasuredTimesOfWhatIsSlower) {
  const MachineFacts facts = healthy_h200x4();
  const Diagnosis diagnosis = diagnose(facts);
  const WhyNot p2p = explain_why_not(facts, diagnosis, "p2p");
  EXPECT_TRUE(p2p.serves);
  EXPECT_THAT(p2p.verdict, HasSubstr("p2p is used: all-reduce: p2p"));
  const WhyNot nccl = explain_why_not(facts, diagnosis, "nccl");
  EXPECT_FALSE(nccl.serves);
  EXPECT_EQ(nccl.steps.back().answer, TreeStep::Answer::kNo);
  EXPECT_THAT(nccl.steps.back().details, ElementsAre("all-reduce of 64 KB: p2p 9.0 us, nccl 21.0 us, native 60.0 us"));
  EXPECT_THAT(nccl.verdict, HasSubstr("[slower]"));
}

TEST(WhyNot, DoesNotClaimWhatNobodyLookedAt) {
  MachineFacts facts = healthy_h200x4();
  facts.fabric = {};
  const Diagnosis diagnosis = diagnose(facts);
  const WhyNot why = explain_why_not(facts, diagnosis, "p2p");
  EXPECT_FALSE(why.serves);
  EXPECT_EQ(why.steps.back().answer, TreeStep::Answer::kUnknown);
  EXPECT_THAT(why.verdict, HasSubstr("not known without a look"));
}

}  // namespace
}  // namespace tandem
