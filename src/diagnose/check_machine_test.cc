#include "diagnose/check_machine.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "comm/trust/snapshot_json.h"

namespace tandem {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

MachineSnapshot recorded(const std::string& name) {
  return read_snapshot(TANDEM_SOURCE_DIR "/tests/snapshots/" + name + ".json");
}

std::vector<std::string> codes(const MachineReport& report) {
  std::vector<std::string> all;
  for (const Finding& finding : report.findings) all.push_back(finding.code);
  return all;
}

TEST(CheckMachine, RunsEveryCollectiveOnCpuRanks) {
  std::vector<std::string> steps;
  const MachineSnapshot machine = check_machine(std::vector<Device>{{DeviceKind::kCpu, 0}, {DeviceKind::kCpu, 1}}, 10,
                                                [&](std::string_view step) { steps.emplace_back(step); });
  EXPECT_THAT(steps, ElementsAre("measuring the back-ends"));
  EXPECT_EQ(machine.calls.size(), 10u);
  for (const MeasuredCall& call : machine.calls) EXPECT_GT(call.microseconds, 0);
  ASSERT_EQ(machine.backends.size(), 1u);
  EXPECT_TRUE(machine.backends[0].works);
  EXPECT_THAT(machine.backends[0].detail, HasSubstr("5 collectives between 2 ranks"));
  EXPECT_EQ(parse_snapshot(snapshot_json(machine), "x"), machine);
  EXPECT_TRUE(report_on(machine, "auto").healthy());
}

TEST(CheckMachine, SaysWhatACpuRankFailedIn) {
  const std::vector<Device> devices = {{DeviceKind::kCpu, 0}, {DeviceKind::kCpu, 1}, {DeviceKind::kCpu, 2}};
  set_log_level(Subsystem::kComm, LogLevel::kOff);               // it tells whom it waits for once a timeout
  const MachineSnapshot machine = check_machine(devices, 1e-9);  // s: nobody is that fast
  set_log_level(Subsystem::kComm, LogLevel::kWarn);
  EXPECT_FALSE(machine.backends[0].works);
  EXPECT_THAT(machine.backends[0].detail, HasSubstr("all-reduce of 4096 bytes: "));
  EXPECT_FALSE(report_on(machine, "auto").healthy());
}

TEST(CheckMachine, WhatIsAsItShouldBeIsNoFinding) {
  for (const char* name : {"h200x2-nvswitch", "h200x2-no-nccl", "h200-one-gpu", "cpu-only", "rtx3090x4-stock-driver",
                           "rtx3090x4-nvlink-pairs"}) {
    EXPECT_THAT(codes(report_on(recorded(name), "auto")), IsEmpty()) << name;
  }
}

TEST(CheckMachine, OneSliceAloneNeedsNoPeers) {
  MachineSnapshot machine = recorded("h200-one-gpu");
  machine.gpus[0].is_mig = true;
  EXPECT_TRUE(report_on(machine, "auto").healthy());
}

TEST(CheckMachine, WhatTheUserCanMendIsAFinding) {
  EXPECT_THAT(codes(report_on(recorded("rtx4090x2-iommu-corrupt"), "auto")), ElementsAre("corrupt"));
  EXPECT_THAT(codes(report_on(recorded("h100-mig-slices"), "auto")), ElementsAre("mig"));
  MachineSnapshot machine = recorded("h200x2-nvswitch");
  machine.pairs[0].can_access = false;
  machine.no_nvml = "cannot load NVML: no such file";
  EXPECT_THAT(codes(report_on(machine, "auto")), ElementsAre("nvlink-without-access", "no-nvml"));
  machine = recorded("rtx3090x4-nvlink-pairs");
  machine.pairs[0].probe.outcome = ProbeOutcome::kLost;
  machine.pairs[3].probe.outcome = ProbeOutcome::kMapFailed;
  const MachineReport report = report_on(machine, "auto");
  EXPECT_THAT(codes(report), ElementsAre("message-lost", "map-failed"));
  EXPECT_THAT(report.findings[0].what, HasSubstr("cuda:0 -> cuda:1: message-lost"));
  EXPECT_THAT(report.findings[0].advice, HasSubstr("iommu=pt"));
}

TEST(CheckMachine, ABackendThatIsNamedAndRefusedIsAFinding) {
  const MachineReport report = report_on(recorded("rtx3090x4-stock-driver"), "p2p");
  EXPECT_THAT(codes(report), ElementsAre("back-end-refused"));
  EXPECT_FALSE(report.choice.has_value());
  EXPECT_THAT(report.findings[0].advice, HasSubstr("nccl, native"));
  EXPECT_THAT(format_report(report), HasSubstr("fail [back-end-refused]: "));
  EXPECT_THAT(format_report(report),
              HasSubstr("p2p       refused  -                           [no-peer-access] 12 of 12 ordered pairs"));
  EXPECT_THROW(report_on(recorded("cpu-only"), "p3p"), Error);
}

TEST(CheckMachine, ACpuBackendWithWrongResultsIsAFinding) {
  MachineSnapshot machine = recorded("cpu-only");
  machine.backends[0] = {.name = "cpu", .works = false, .detail = "all_reduce of 4096 bytes: wrong result on rank 1"};
  const MachineReport report = report_on(machine, "auto");
  EXPECT_THAT(codes(report), ElementsAre("back-end-refused"));
  EXPECT_THAT(report.findings[0].what, HasSubstr("cpu [failed]: all_reduce of 4096 bytes: wrong result on rank 1"));
}

TEST(CheckReport, ShowsGpusPairsBackendsAndPlans) {
  const std::string text = format_report(report_on(recorded("h200x2-nvswitch"), "auto"));
  EXPECT_THAT(text, HasSubstr("2 GPUs, driver 580.159.04\n"));
  EXPECT_THAT(text, HasSubstr("1     cuda:1  NVIDIA H200  9.0  132  139.8 GB  no   0000:2a:00.0"));
  EXPECT_THAT(text, HasSubstr("cuda:1 -> cuda:0  NV18  yes     passed    1000000  0.58 us  367.0 GB/s\n"));
  EXPECT_THAT(text, HasSubstr("p2p       chosen  186.7 MB of its GPU\n"));
  EXPECT_THAT(text, HasSubstr("native    works   60.9 MB pinned on the host  [slower] nowhere faster"));
  EXPECT_THAT(text, HasSubstr("all-gather      nccl up to 512 KB, p2p above  measurement\n"));
  EXPECT_THAT(text, testing::EndsWith("\nhealthy\n"));
}

TEST(CheckReport, JsonHoldsTheSnapshotItDecidedFrom) {
  const MachineSnapshot machine = recorded("rtx4090x2-iommu-corrupt");
  const Json json = parse_json(report_json(report_on(machine, "auto")), "");
  EXPECT_EQ(parse_snapshot(json_text(json["snapshot"]), "x"), machine);
  EXPECT_EQ(json["healthy"], false);
  EXPECT_EQ(json["backends"][0]["name"], "p2p");
  EXPECT_EQ(json["backends"][0]["state"], "refused");
  EXPECT_EQ(json["backends"][0]["reason"], "corrupt");
  EXPECT_EQ(json["backends"][1]["state"], "chosen");
  EXPECT_EQ(json["findings"][0]["level"], "fail");
  EXPECT_EQ(json["plans"][0]["rows"][0], (Json{{"up_to_bytes", nullptr}, {"backend", "nccl"}}));
}

}  // namespace
}  // namespace tandem
