#include "comm/trust/choice.h"

#include <gmock/gmock.h>

#include <set>

#include "base/error.h"
#include "comm/trust/snapshot_json.h"

namespace tandem {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::int64_t kNoBound = OpPlan::kNoBound;
constexpr std::int64_t kKB = 1 << 10, kMB = 1 << 20;

MachineSnapshot recorded(const std::string& name) {
  return read_snapshot(TANDEM_SOURCE_DIR "/tests/snapshots/" + name + ".json");
}

// "p2p no-peer-access"
std::vector<std::string> reasons(const Choice& choice) {
  std::vector<std::string> codes;
  for (const Rejection& r : choice.rejected) codes.push_back(format("{} {}", r.backend, to_string(r.reason)));
  return codes;
}

Error refusal(const MachineSnapshot& machine, std::string_view wanted) {
  try {
    choose_backends(machine, wanted);
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorKind::kInternal, "it was not refused");
}

const OpPlan& plan_of(const Choice& choice, Collective op) {
  for (const OpPlan& plan : choice.plans) {
    if (plan.op == op) return plan;
  }
  throw Error(ErrorKind::kInternal, "no such plan");
}

// Two GPUs that could use anything; `times` of all-reduces.
MachineSnapshot measured(std::vector<MeasuredCall> times) {
  MachineSnapshot machine = recorded("h200x2-nvswitch");
  machine.calls = std::move(times);
  return machine;
}

MeasuredCall all_reduce(std::string backend, std::int64_t bytes, double microseconds) {
  return {.backend = std::move(backend), .op = Collective::kAllReduce, .bytes = bytes, .microseconds = microseconds};
}

TEST(Choice, MeasurementsDecideBetweenPeersThatAllWork) {
  const Choice choice = choose_backends(recorded("h200x2-nvswitch"), "auto");
  EXPECT_THAT(plan_of(choice, Collective::kAllReduce).rows, ElementsAre(OpPlan::Row{kNoBound, "p2p"}));
  EXPECT_THAT(plan_of(choice, Collective::kAllGather).rows,
              ElementsAre(OpPlan::Row{512 * kKB, "nccl"}, OpPlan::Row{kNoBound, "p2p"}));
  // At 1 MB they differ by 1.6 % only.
  EXPECT_THAT(plan_of(choice, Collective::kReduceScatter).rows,
              ElementsAre(OpPlan::Row{2 * kMB, "nccl"}, OpPlan::Row{kNoBound, "p2p"}));
  EXPECT_FALSE(plan_of(choice, Collective::kBarrier).measured);
  EXPECT_THAT(choice.used(), ElementsAre("p2p", "nccl"));
  EXPECT_THAT(reasons(choice), ElementsAre("native slower"));
  EXPECT_THAT(choice.rejected[0].detail, HasSubstr("all-reduce of 4 KB: 3.50 us, p2p 2.57 us"));
  EXPECT_THAT(choice.log_lines(),
              ElementsAre("2 ranks: 2 x NVIDIA H200, driver 580.159.04", "links: 0-1 NV18",
                          "p2p works: all 2 ordered pairs verified, 0.58 us at most, 367 GB/s at least",
                          "nccl works: 2.28.9", "native works", HasSubstr("native rejected [slower]: "),
                          "all-reduce: p2p (measured)", "all-gather: nccl up to 512 KB, p2p above (measured)",
                          "reduce-scatter: nccl up to 2 MB, p2p above (measured)",
                          "broadcast: nccl up to 128 KB, p2p above (measured)", "gather: p2p (measured)",
                          "barrier, send: p2p (by preference)"));
}

TEST(Choice, CallsGoWhereTheirPlanSaysAndRecvWithItsSend) {
  MachineSnapshot machine = recorded("h200x2-nvswitch");
  machine.calls.push_back({.backend = "native", .op = Collective::kSend, .bytes = 4096, .microseconds = 1});
  const Choice choice = choose_backends(machine, "auto");
  EXPECT_EQ(choice.backend_for(Collective::kAllGather, 0), "nccl");
  EXPECT_EQ(choice.backend_for(Collective::kAllGather, 512 * kKB), "nccl");
  EXPECT_EQ(choice.backend_for(Collective::kAllGather, 512 * kKB + 1), "p2p");
  EXPECT_EQ(choice.backend_for(Collective::kAllGather, kNoBound), "p2p");
  EXPECT_EQ(choice.backend_for(Collective::kSend, 64), "native");
  EXPECT_EQ(choice.backend_for(Collective::kRecv, 64), "native");
}

TEST(Choice, WithoutMeasurementsThereIsAFixedOrder) {
  EXPECT_THAT(choose_backends(measured({}), "auto").used(), ElementsAre("p2p"));
  EXPECT_THAT(reasons(choose_backends(measured({}), "auto")), ElementsAre("nccl not-measured", "native not-measured"));
  const Choice without_nccl = choose_backends(recorded("h200x2-no-nccl"), "auto");
  EXPECT_THAT(without_nccl.used(), ElementsAre("p2p"));
  EXPECT_THAT(reasons(without_nccl), ElementsAre("nccl nccl-missing", "native not-measured"));
  EXPECT_THAT(without_nccl.rejected[0].detail, HasSubstr("libnccl.so.2: cannot open"));
}

TEST(Choice, StockGeForceDriversGiveNoPeers) {
  const Choice choice = choose_backends(recorded("rtx3090x4-stock-driver"), "auto");
  EXPECT_THAT(choice.used(), ElementsAre("nccl"));
  EXPECT_THAT(reasons(choice), ElementsAre("p2p no-peer-access", "native not-measured"));
  EXPECT_THAT(choice.rejected[0].detail, HasSubstr("12 of 12 ordered pairs have no peer access"));
  EXPECT_THAT(choice.rejected[0].detail,
              HasSubstr("cuda:3 -> cuda:1: the driver gives no access over SYS (CNS: chipset not supported)"));
}

TEST(Choice, APartialMeshIsNoMesh) {
  const Choice choice = choose_backends(recorded("rtx3090x4-nvlink-pairs"), "auto");
  EXPECT_THAT(choice.used(), ElementsAre("nccl"));
  EXPECT_THAT(reasons(choice), ElementsAre("p2p partial-mesh", "native not-measured"));
  EXPECT_THAT(choice.rejected[0].detail, HasSubstr("8 of 12 ordered pairs have no peer access: cuda:0 -> cuda:2"));
  EXPECT_THAT(choice.rejected[0].detail, Not(HasSubstr("cuda:0 -> cuda:1")));
  EXPECT_THAT(choice.facts, testing::Contains("links: 0-1,2-3 NV4; 0-2,0-3,1-2,1-3 SYS"));
}

TEST(Choice, OneCorruptDirectionRefusesTheWholeGroup) {
  const Choice choice = choose_backends(recorded("rtx4090x2-iommu-corrupt"), "auto");
  EXPECT_THAT(choice.used(), ElementsAre("nccl"));
  EXPECT_THAT(reasons(choice), ElementsAre("p2p corrupt", "native not-measured"));
  EXPECT_EQ(choice.rejected[0].detail,
            "cuda:1 -> cuda:0: corrupt in 4096 rounds over PHB (round 4096, byte 512: 0x00000000 where 0x8a5f11c3 was "
            "sent)");
}

TEST(Choice, MigHasNeitherPeersNorNccl) {
  const Choice choice = choose_backends(recorded("h100-mig-slices"), "auto");
  EXPECT_THAT(choice.used(), ElementsAre("native"));
  EXPECT_THAT(reasons(choice), ElementsAre("p2p mig", "nccl mig"));
}

TEST(Choice, RanksOnCpusUseCpu) {
  const Choice choice = choose_backends(recorded("cpu-only"), "auto");
  EXPECT_THAT(choice.used(), ElementsAre("cpu"));
  EXPECT_THAT(reasons(choice), ElementsAre("p2p no-gpu", "nccl no-gpu", "native no-gpu"));
  EXPECT_THAT(choice.facts[0], HasSubstr("no CUDA-capable device is detected"));
  EXPECT_EQ(refusal(recorded("cpu-only"), "p2p").kind(), ErrorKind::kUnsupported);
}

TEST(Choice, OneGpuHasNobodyToTalkTo) {
  const Choice choice = choose_backends(recorded("h200-one-gpu"), "auto");
  EXPECT_THAT(choice.used(), ElementsAre("p2p"));
  EXPECT_THAT(choice.facts[0], HasSubstr("nobody to talk to"));
}

TEST(Choice, EachWayAProbeFailsHasItsReasonAndTheWorstNamesIt) {
  const std::pair<ProbeOutcome, Reason> failures[] = {
      {ProbeOutcome::kMapFailed, Reason::kMapFailed},   {ProbeOutcome::kLost, Reason::kMessageLost},
      {ProbeOutcome::kOutOfOrder, Reason::kOutOfOrder}, {ProbeOutcome::kCorrupt, Reason::kCorrupt},
      {ProbeOutcome::kNotTried, Reason::kNotProbed},    {ProbeOutcome::kNoAccess, Reason::kPartialMesh}};
  for (const auto& [outcome, reason] : failures) {
    MachineSnapshot machine = measured({});
    machine.pairs[1].probe.outcome = outcome;
    const auto rejection = why_not(machine, "p2p", Evidence::kProbed);
    ASSERT_TRUE(rejection.has_value()) << to_string(outcome);
    EXPECT_EQ(rejection->reason, reason) << to_string(outcome);
    if (reason != Reason::kPartialMesh) {
      EXPECT_EQ(to_string(reason), to_string(outcome));
    }
    EXPECT_THAT(rejection->detail, HasSubstr("cuda:1 -> cuda:0"));
    EXPECT_THAT(rejection->detail, Not(HasSubstr("cuda:0 -> cuda:1"))) << "a pair that passed";
  }
  MachineSnapshot machine = recorded("rtx3090x4-nvlink-pairs");
  machine.pairs[0].probe.outcome = ProbeOutcome::kOutOfOrder;
  machine.pairs[3].probe.outcome = ProbeOutcome::kCorrupt;
  EXPECT_EQ(why_not(machine, "p2p", Evidence::kProbed)->reason, Reason::kCorrupt);
}

TEST(Choice, TheDriversWordCountsOnlyWhereItIsAskedFor) {
  MachineSnapshot machine = measured({});
  for (PairFacts& pair : machine.pairs) pair.probe = {};
  EXPECT_EQ(why_not(machine, "p2p", Evidence::kProbed)->reason, Reason::kNotProbed);
  EXPECT_FALSE(why_not(machine, "p2p", Evidence::kClaimed).has_value());
  machine.pairs[0].can_access = false;
  EXPECT_EQ(why_not(machine, "p2p", Evidence::kClaimed)->reason, Reason::kPartialMesh);
}

TEST(Choice, RanksThatShareAGpuNeedNoProbeAndHaveNoNccl) {
  MachineSnapshot machine = measured({});
  machine.gpus[1].index = 0;
  for (PairFacts& pair : machine.pairs) pair.probe = {};
  EXPECT_FALSE(why_not(machine, "p2p", Evidence::kProbed).has_value());
  EXPECT_EQ(why_not(machine, "nccl", Evidence::kProbed)->reason, Reason::kSharedGpu);
}

TEST(Choice, ABackendThatWasTriedAndFailedIsNotUsed) {
  MachineSnapshot machine = recorded("h100-mig-slices");
  machine.backends[1] = {.name = "native", .works = false, .detail = "cannot lock 4096 bytes"};
  const Error error = refusal(machine, "auto");
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("native [failed]: cannot lock 4096 bytes"));
  EXPECT_THAT(error.what(), HasSubstr("p2p [mig]"));
}

TEST(Choice, AForcedBackendServesEverything) {
  const Choice choice = choose_backends(recorded("h200x2-nvswitch"), "native");
  for (const OpPlan& plan : choice.plans) EXPECT_THAT(plan.rows, ElementsAre(OpPlan::Row{kNoBound, "native"}));
  EXPECT_THAT(reasons(choice), ElementsAre("p2p forced-other", "nccl forced-other"));
}

TEST(Choice, AForcedBackendThatCannotServeIsAnErrorWithEachPairAndWhatWorks) {
  const Error error = refusal(recorded("rtx3090x4-nvlink-pairs"), "p2p");
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("cuda:0 -> cuda:2, cuda:0 -> cuda:3, cuda:1 -> cuda:2, cuda:1 -> cuda:3, "
                                      "cuda:2 -> cuda:0, cuda:2 -> cuda:1, cuda:3 -> cuda:0, cuda:3 -> cuda:1: "
                                      "the driver gives no access over SYS (CNS: chipset not supported)"));
  EXPECT_THAT(error.what(), HasSubstr("p2p [partial-mesh]"));
  EXPECT_THAT(error.hint(), HasSubstr("nccl, native; NVIDIA's driver for GeForce"));
  EXPECT_THAT(refusal(recorded("h200x2-no-nccl"), "nccl").what(), HasSubstr("nccl [nccl-missing]: cannot load NCCL"));
  EXPECT_THAT(refusal(recorded("h200x2-nvswitch"), "cpu").what(), HasSubstr("cpu [gpu-ranks]"));
}

TEST(Choice, AnUnknownNameListsTheKnown) {
  const Error error = refusal(recorded("h200x2-nvswitch"), "ncll");
  EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
  EXPECT_EQ(error.hint(), "known are auto, p2p, nccl, native, cpu");
}

TEST(Choice, NoiseOfThreePercentChangesNothing) {
  const Choice choice = choose_backends(
      measured({all_reduce("p2p", 1 * kKB, 10.2), all_reduce("nccl", 1 * kKB, 10.0), all_reduce("p2p", 4 * kKB, 10.0),
                all_reduce("nccl", 4 * kKB, 10.2), all_reduce("p2p", 16 * kKB, 10.25), all_reduce("nccl", 16 * kKB, 10),
                all_reduce("p2p", 64 * kKB, 10.4), all_reduce("nccl", 64 * kKB, 10.0),
                all_reduce("p2p", 256 * kKB, 10.0), all_reduce("nccl", 256 * kKB, 10.2)}),
      "auto");
  EXPECT_THAT(plan_of(choice, Collective::kAllReduce).rows,
              ElementsAre(OpPlan::Row{32 * kKB, "p2p"}, OpPlan::Row{kNoBound, "nccl"}));
}

TEST(Choice, OnlyWhatWasMeasuredAtASizeCompetesForIt) {
  const Choice choice = choose_backends(
      measured({all_reduce("native", 1 * kKB, 2), all_reduce("p2p", 1 * kKB, 3), all_reduce("p2p", 4 * kKB, 30)}),
      "auto");
  EXPECT_THAT(plan_of(choice, Collective::kAllReduce).rows,
              ElementsAre(OpPlan::Row{2 * kKB, "native"}, OpPlan::Row{kNoBound, "p2p"}));
  EXPECT_THAT(reasons(choice), ElementsAre("nccl not-measured"));
}

TEST(Choice, BoundsLieBetweenSizesHoweverCloseTheseAre) {
  const Choice choice =
      choose_backends(measured({all_reduce("nccl", 0, 1), all_reduce("p2p", 0, 2), all_reduce("nccl", 1, 2),
                                all_reduce("p2p", 1, 1), all_reduce("nccl", 2, 1), all_reduce("p2p", 2, 2)}),
                      "auto");
  EXPECT_THAT(plan_of(choice, Collective::kAllReduce).rows,
              ElementsAre(OpPlan::Row{0, "nccl"}, OpPlan::Row{1, "p2p"}, OpPlan::Row{kNoBound, "nccl"}));
}

TEST(Choice, MeasurementsOfABackendThatCannotServeDoNotCount) {
  MachineSnapshot machine = recorded("h200x2-nvswitch");
  machine.pairs[0].probe.outcome = ProbeOutcome::kLost;
  EXPECT_THAT(plan_of(choose_backends(machine, "auto"), Collective::kAllReduce).rows,
              ElementsAre(OpPlan::Row{kKB * 128, "native"}, OpPlan::Row{kNoBound, "nccl"}));
}

TEST(Choice, DoesNotDependOnTheOrderOfMeasurements) {
  MachineSnapshot machine = recorded("h200x2-nvswitch");
  const auto lines = choose_backends(machine, "auto").log_lines();
  std::reverse(machine.calls.begin(), machine.calls.end());
  EXPECT_EQ(choose_backends(machine, "auto").log_lines(), lines);
}

TEST(Choice, ReasonsHaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Reason::kForcedOther); ++i) names.insert(to_string(static_cast<Reason>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(Reason::kForcedOther) + 1);
  EXPECT_EQ(to_string(Reason::kNoGpu), "no-gpu");
  EXPECT_EQ(to_string(Reason::kNcclMissing), "nccl-missing");
  EXPECT_EQ(to_string(Reason::kNotMeasured), "not-measured");
  EXPECT_EQ(to_string(Reason::kForcedOther), "forced-other");
}

}  // namespace
}  // namespace tandem
