// The whole tuner with made-up times: what is fastest, how much they waver and what gives wrong results is planted.
#include "diagnose/tune.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <random>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/json.h"
#include "comm/trust/choice.h"
#include "comm/trust/snapshot_json.h"

namespace tandem {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

using enum TunedAlgorithm;

MachineSnapshot machine_of(int num_gpus) {
  MachineSnapshot machine = read_snapshot(TANDEM_SOURCE_DIR "/tests/snapshots/h200x2-nvswitch.json");
  const PairFacts pair = machine.pairs[0];
  const GpuFacts gpu = machine.gpus[0];
  machine.calls.clear();
  machine.gpus.clear();
  machine.pairs.clear();
  for (int from = 0; from < num_gpus; ++from) {
    machine.gpus.push_back(gpu);
    machine.gpus.back().index = from;
    machine.gpus.back().uuid = format("GPU-{}", from);
    for (int to = 0; to < num_gpus; ++to) {
      if (from == to) continue;
      machine.pairs.push_back(pair);
      machine.pairs.back().from = from;
      machine.pairs.back().to = to;
    }
  }
  return machine;
}

/// What a fake machine is asked for.
struct Asked {
  std::string backend;
  Collective op;
  std::int64_t bytes;
  TunedAlgorithm algorithm;
  int blocks;
  std::int64_t inbox_bytes;
};

/// Times calls as `time` says; p2p and native choose their plans as they do on GPUs.
struct FakeMachine {
  MachineSnapshot machine = machine_of(2);
  std::function<double(const Asked&)> time = [](const Asked&) { return 10.0; };
  double noise = 0;  // of each sample, at most
  std::mt19937 random{1};
  int timers = 0, calls = 0;
  std::vector<Asked> asked = {};

  class Timer final : public CallTimer {
   public:
    Timer(FakeMachine& fake, std::string backend, const Tuning& tuning)
        : fake_(fake), backend_(std::move(backend)), inbox_bytes_(tuning.inbox_of(backend_)) {
      const auto world_size = static_cast<int>(fake.machine.gpus.size());
      const InboxPlace place = backend_ == "p2p" ? InboxPlace::kPeerMemory : InboxPlace::kHostMemory;
      limits_ = {world_size, 132, plan_rooms(world_size, place, inbox_bytes_), tuning.calls_of(backend_)};
    }

    std::vector<double> time(Collective op, std::int64_t bytes, TuneEffort effort) override {
      EXPECT_FALSE(failed_) << "a group that has failed is dead";
      ++fake_.calls;
      const std::int64_t message = message_bytes(op, bytes, limits_.world_size);
      const TunedCalls plan = backend_ == "nccl" ? TunedCalls{} : planned_call(limits_, op, DType::kBF16, message);
      fake_.asked.push_back({backend_, op, bytes, plan.algorithm, plan.blocks, inbox_bytes_});
      failed_ = true;
      const double time = fake_.time(fake_.asked.back());
      failed_ = false;
      std::vector<double> samples;
      std::uniform_real_distribution<double> noise(-fake_.noise, fake_.noise);
      for (int i = 0; i < effort.samples; ++i) samples.push_back(time * (1 + noise(fake_.random)));
      return samples;
    }

   private:
    FakeMachine& fake_;
    std::string backend_;
    std::int64_t inbox_bytes_;
    PushLimits limits_;
    bool failed_ = false;
  };

  TuneResult tune(const TuneParameters& parameters, const std::function<void(std::string_view)>& on_step = {}) {
    return tandem::tune(
        machine, parameters,
        [&](const std::string& backend, const Tuning& tuning) {
          ++timers;
          return std::make_unique<Timer>(*this, backend, tuning);
        },
        on_step);
  }
};

const TuneParameters kSmall{.ops = {Collective::kAllReduce, Collective::kBroadcast},
                            .sizes = {4 << 10, 64 << 10, 1 << 20}};

const TunedSize& chosen(const TuneResult& result, const std::string& backend, Collective op, std::int64_t bytes) {
  for (const TunedSize& size : result.sizes) {
    if (size.backend == backend && size.op == op && size.bytes == bytes) return size;
  }
  throw Error(ErrorKind::kInternal, "no such size");
}

TEST(TuneCandidates, FitAndDifferAtEveryWorldSize) {
  for (int world_size = 2; world_size <= kMaxWorldSize; ++world_size) {
    for (const InboxPlace place : {InboxPlace::kPeerMemory, InboxPlace::kHostMemory}) {
      const PushLimits limits{world_size, 132, plan_rooms(world_size, place)};
      for (const Collective op : tunable_ops()) {
        for (const std::int64_t bytes : default_tune_sizes()) {
          SCOPED_TRACE(format("{} of {}, {} ranks", to_string(op), bytes, world_size));
          const std::int64_t message = message_bytes(op, bytes, world_size);
          const TunedCalls built_in = planned_call(limits, op, DType::kBF16, message);
          std::set<std::pair<TunedAlgorithm, int>> seen = {{built_in.algorithm, built_in.blocks}};
          for (const TunedCalls& candidate : tune_candidates(limits, op, bytes)) {
            EXPECT_TRUE(seen.emplace(candidate.algorithm, candidate.blocks).second) << "twice, or the built-in one";
            PushLimits tuned = limits;
            tuned.tuned = {candidate};
            const TunedCalls plan = planned_call(tuned, op, DType::kBF16, message);
            EXPECT_EQ(std::pair(plan.algorithm, plan.blocks), std::pair(candidate.algorithm, candidate.blocks));
          }
          EXPECT_LE(seen.size(), 40u);
          EXPECT_GE(seen.size(), bytes >= 64 << 10 ? 2u : 1u);
        }
      }
    }
  }
}

TEST(TuneCandidates, DefaultSizesAreThoseOfModels) {
  EXPECT_THAT(default_tune_sizes(),
              ElementsAre(1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20));
}

TEST(TuneOps, AreNamedAsBenchNamesThem) {
  EXPECT_EQ(parse_tunable_op("reduce_scatter"), Collective::kReduceScatter);
  try {
    parse_tunable_op("all-reduce");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.hint(), "there are all_reduce, all_gather, reduce_scatter, broadcast, gather");
  }
}

TEST(Tune, FindsWhatIsFastestAndRowsThatNameIt) {
  FakeMachine fake;
  fake.noise = 0.01;
  fake.time = [](const Asked& call) {
    if (call.op != Collective::kAllReduce || call.backend != "p2p") return 10.0;
    const bool best = call.bytes == 64 << 10  ? call.algorithm == kTwoShotSentinel && call.blocks == 16
                      : call.bytes == 1 << 20 ? call.algorithm == kRingBulk && call.blocks == 32
                                              : false;
    return best ? 8.0 : 10.0;
  };
  const TuneResult result = fake.tune(kSmall);
  EXPECT_THAT(result.findings, IsEmpty());
  EXPECT_THAT(result.sizes, SizeIs(12)) << "2 back-ends, 2 operations, 3 sizes";
  const TunedSize& size = chosen(result, "p2p", Collective::kAllReduce, 64 << 10);
  EXPECT_EQ(std::tuple(size.algorithm, size.blocks, size.built_in), std::tuple(kTwoShotSentinel, 16, false));
  EXPECT_NEAR(size.microseconds, 8, 0.2);
  EXPECT_NEAR(size.built_in_us, 10, 0.2);
  const TunedSize& kept = chosen(result, "p2p", Collective::kAllReduce, 4 << 10);
  EXPECT_EQ(std::tuple(kept.algorithm, kept.built_in), std::tuple(kOneShotTagged, true)) << "what is used is named";
  // Bounds are geometric means; one row a run of sizes; nothing for what stays as it is.
  const auto row = [](std::int64_t up_to, TunedAlgorithm algorithm, int blocks) {
    return TunedCalls{"p2p", Collective::kAllReduce, up_to, algorithm, blocks};
  };
  EXPECT_THAT(result.profile.tuning.calls, ElementsAre(row(16 << 10, kBuiltIn, 0), row(256 << 10, kTwoShotSentinel, 16),
                                                       row(2 << 20, kRingBulk, 32)))
      << "beyond what was measured nothing changes";
  EXPECT_THAT(result.profile.tuning.inboxes, IsEmpty());
  EXPECT_EQ(parse_snapshot(snapshot_json(result.profile), "x"), result.profile);
}

TEST(Tune, TheLargestAndSmallestSizesSpeakForThoseBeyond) {
  FakeMachine fake;
  fake.time = [](const Asked& call) { return call.algorithm == kRingBulk && call.blocks == 16 ? 5.0 : 10.0; };
  const auto rows = [&](std::vector<std::int64_t> sizes) {
    const TuneResult result = fake.tune({.ops = {Collective::kAllReduce}, .sizes = std::move(sizes)});
    std::vector<std::pair<std::int64_t, TunedAlgorithm>> bounds;
    for (const TunedCalls& row : result.profile.tuning.calls_of("p2p")) {
      bounds.emplace_back(row.up_to_bytes, row.algorithm);
    }
    return bounds;
  };
  EXPECT_THAT(rows({256 << 10, 16 << 20}),
              ElementsAre(std::pair(128 << 10, kBuiltIn), std::pair(TunedCalls::kNoBound, kRingBulk)));
  EXPECT_THAT(rows({1 << 10, 256 << 10}), ElementsAre(std::pair(16 << 10, kBuiltIn), std::pair(512 << 10, kRingBulk)));
  fake.time = [](const Asked& call) { return call.algorithm == kOneShotSentinel && call.blocks == 2 ? 5.0 : 10.0; };
  EXPECT_THAT(rows({1 << 10, 16 << 20}), ElementsAre(std::pair(128 << 10, kOneShotSentinel)));
}

TEST(Tune, NoiseChangesNothing) {
  FakeMachine fake;
  fake.noise = 0.05;
  const TuneResult result = fake.tune(kSmall);
  EXPECT_TRUE(result.profile.tuning.empty());
  for (const TunedSize& size : result.sizes) EXPECT_TRUE(size.built_in);
}

TEST(Tune, AGainOfThreePercentIsNotEnough) {
  for (const auto& [gain, changes] : {std::pair(1.029, false), std::pair(1.035, true)}) {
    FakeMachine fake;
    fake.time = [gain = gain](const Asked& call) {
      return call.algorithm == kRingBulk && call.blocks == 8 ? 10.0 / gain : 10.0;
    };
    const TuneResult result = fake.tune({.ops = {Collective::kAllReduce}, .sizes = {256 << 10}});
    EXPECT_EQ(!result.profile.tuning.calls.empty(), changes) << gain;
  }
}

// By its few short samples the one looks best; the longer ones tell.
TEST(Tune, FinalistsAreMeasuredAnew) {
  FakeMachine fake;
  std::map<int, int> times_asked;
  fake.time = [&](const Asked& call) {
    if (call.backend != "p2p" || call.algorithm != kRingBulk || call.blocks != 4) return 10.0;
    return ++times_asked[call.blocks] == 1 ? 1.0 : 20.0;
  };
  const TuneResult result = fake.tune({.ops = {Collective::kAllReduce}, .sizes = {256 << 10}});
  EXPECT_TRUE(result.profile.tuning.calls.empty());
  EXPECT_GE(times_asked[4], 3) << "one short, two long";
}

TEST(Tune, WhatGivesWrongResultsIsDroppedAndReported) {
  FakeMachine fake;
  fake.time = [](const Asked& call) {
    if (call.backend == "p2p" && call.algorithm == kTwoShotSentinel && call.blocks == 8) {
      throw Error(ErrorKind::kInternal, "wrong result on rank 1: all-reduce from byte 16 of 65536 on");
    }
    if (call.algorithm == kTwoShotSentinel) return 9.0;
    return 10.0;
  };
  const TuneResult result = fake.tune({.ops = {Collective::kAllReduce}, .sizes = {64 << 10}});
  ASSERT_THAT(result.findings, SizeIs(1));
  EXPECT_EQ(result.findings[0].backend, "p2p");
  EXPECT_EQ(result.findings[0].what, "two-shot-sentinel in 8 blocks, all-reduce of 65536 bytes");
  EXPECT_THAT(result.findings[0].error, HasSubstr("wrong result on rank 1"));
  const TunedSize& size = chosen(result, "p2p", Collective::kAllReduce, 64 << 10);
  EXPECT_EQ(size.algorithm, kTwoShotSentinel);
  EXPECT_NE(size.blocks, 8);
  EXPECT_THAT(format_tune(result), HasSubstr("fail: p2p: two-shot-sentinel in 8 blocks"));
}

// Wrong only once it is in the finals.
TEST(Tune, AFinalistThatFailsIsNotChosen) {
  FakeMachine fake;
  int asked = 0;
  fake.time = [&](const Asked& call) {
    if (call.backend != "p2p" || call.algorithm != kRingBulk || call.blocks != 4) return 10.0;
    if (++asked == 3) throw Error(ErrorKind::kTimeout, "timed out");
    return 5.0;
  };
  const TuneResult result = fake.tune({.ops = {Collective::kAllReduce}, .sizes = {256 << 10}});
  EXPECT_THAT(result.findings, SizeIs(1));
  EXPECT_TRUE(result.profile.tuning.calls.empty());
}

TEST(Tune, ABackEndWhoseBuiltInPlanFailsIsMarkedAndOthersAreTuned) {
  FakeMachine fake;
  fake.time = [](const Asked& call) {
    if (call.backend == "p2p" && call.bytes == 64 << 10) throw Error(ErrorKind::kPeerLost, "rank 1 is gone");
    return call.backend == "native" && call.algorithm == kRingBulk && call.blocks == 2 ? 5.0 : 10.0;
  };
  const TuneResult result = fake.tune(kSmall);
  EXPECT_THAT(result.findings, SizeIs(1));
  EXPECT_EQ(why_not(result.profile, "p2p", Evidence::kProbed)->reason, Reason::kFailed);
  for (const TunedSize& size : result.sizes) EXPECT_EQ(size.backend, "native");
  EXPECT_FALSE(result.profile.tuning.calls.empty());
  for (const MeasuredCall& call : result.profile.calls) EXPECT_NE(call.backend, "p2p");
  EXPECT_EQ(choose_backends(result.profile, "auto").backend_for(Collective::kBarrier, 0), "nccl");
}

TEST(Tune, WhereMemoryDoesNotSufficeNothingIsConcluded) {
  FakeMachine fake;
  fake.time = [](const Asked&) -> double { throw Error(ErrorKind::kOutOfMemory, "cuda:1: 5 bytes are free"); };
  try {
    fake.tune(kSmall);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
  }
}

TEST(Tune, ABackEndOfWhichMuchFailsIsGivenUp) {
  FakeMachine fake;
  int failures = 0;
  fake.time = [&](const Asked& call) {
    if (call.backend == "p2p" && call.algorithm == kTwoShotSentinel) {
      ++failures;
      throw Error(ErrorKind::kTimeout, "timed out");
    }
    return 10.0;
  };
  TuneParameters parameters = kSmall;
  parameters.sizes = {16 << 10, 64 << 10, 256 << 10};
  const TuneResult result = fake.tune(parameters);
  EXPECT_EQ(failures, 8);
  EXPECT_THAT(result.findings, SizeIs(9));
  EXPECT_TRUE(why_not(result.profile, "p2p", Evidence::kProbed));
}

TEST(Tune, AllBackEndsAreMeasuredWithWhatWasChosen) {
  FakeMachine fake;
  fake.time = [](const Asked& call) {
    if (call.backend == "nccl") return 7.0;
    if (call.backend == "native") return 30.0;
    return call.algorithm == kTwoShotSentinel ? 6.0 : 10.0;
  };
  const TuneResult result = fake.tune(kSmall);
  std::set<std::tuple<std::string, Collective, std::int64_t>> measured;
  for (const MeasuredCall& call : result.profile.calls) measured.emplace(call.backend, call.op, call.bytes);
  // Sizes of calibrate() and those that were tuned: 2K 4K 16K 64K 128K 1M 4M 16M.
  EXPECT_EQ(measured.size(), 3u * 5 * 8);
  EXPECT_EQ(measured.size(), result.profile.calls.size());
  const Choice choice = choose_backends(result.profile, "auto");
  EXPECT_EQ(choice.backend_for(Collective::kAllReduce, 64 << 10), "p2p") << "as tuned it is the fastest";
  EXPECT_EQ(choice.backend_for(Collective::kBroadcast, 64 << 10), "nccl");
  EXPECT_THAT(format_tune(result), HasSubstr("67 % faster"));
  const Json report = parse_json(tune_json(result, "/p/x.json"), "x");
  EXPECT_EQ(report["stored"], "/p/x.json");
  EXPECT_EQ(report["sizes"].size(), result.sizes.size());
  EXPECT_EQ(report["sizes"][0]["nccl_us"], 7.0);
  EXPECT_EQ(parse_snapshot(json_text(report["snapshot"]), "x"), result.profile);
}

TEST(Tune, WhatCannotServeIsNotMeasured) {
  FakeMachine fake;
  fake.machine.pairs[0].probe.outcome = ProbeOutcome::kCorrupt;
  const TuneResult result = fake.tune(kSmall);
  EXPECT_FALSE(fake.asked.empty());
  for (const Asked& call : fake.asked) EXPECT_NE(call.backend, "p2p");
  EXPECT_EQ(result.profile.pairs, fake.machine.pairs);
}

TEST(Tune, CancelledMidwayItThrows) {
  FakeMachine whole;
  whole.tune(kSmall);
  ASSERT_GT(whole.calls, 200);
  for (const int after : {0, 1, 50, whole.calls - 1}) {
    FakeMachine fake;
    fake.time = [&](const Asked&) {
      if (fake.calls > after) throw Error(ErrorKind::kCancelled, "interrupted");
      return 10.0;
    };
    EXPECT_THROW(fake.tune(kSmall), Error) << after;
    EXPECT_EQ(fake.calls, after + 1) << "nothing more is measured";
    int steps = 0;
    FakeMachine other;
    const auto on_step = [&](std::string_view) {
      if (++steps > after) throw Error(ErrorKind::kCancelled, "interrupted");
    };
    EXPECT_THROW(other.tune(kSmall, on_step), Error) << after;
  }
}

TEST(Tune, LargerInboxesAreChosenWhereRingsGetFaster) {
  const TuneParameters large{.ops = {Collective::kAllReduce}, .sizes = {64 << 10, 16 << 20, 64 << 20}};
  for (const double gain : {1.02, 1.2}) {
    FakeMachine fake;
    fake.noise = 0.01;
    fake.time = [&](const Asked& call) {
      if (call.inbox_bytes == 512 << 20) throw Error(ErrorKind::kOutOfMemory, "none left");
      return call.backend == "p2p" && call.inbox_bytes == 256 << 20 && call.bytes >= 16 << 20 ? 10 / gain : 10.0;
    };
    const TuneResult result = fake.tune(large);
    EXPECT_THAT(result.findings, IsEmpty()) << "no memory for it is no fault";
    EXPECT_EQ(result.profile.tuning.inbox_of("p2p"), gain > 1.03 ? 256 << 20 : 0);
    EXPECT_EQ(result.profile.tuning.inbox_of("native"), 0);
    for (const Asked& call : fake.asked) {
      EXPECT_TRUE(call.backend != "p2p" || call.inbox_bytes == 0 || call.inbox_bytes >= 64 << 20)
          << "smaller ones would take from the packets";
    }
  }
}

TEST(Tune, AnInboxThatIsNamedIsTakenAsItIs) {
  FakeMachine fake;
  TuneParameters parameters = kSmall;
  parameters.inbox_bytes = 8 << 20;
  const TuneResult result = fake.tune(parameters);
  EXPECT_EQ(result.profile.tuning.inbox_of("p2p"), 8 << 20);
  EXPECT_EQ(result.profile.tuning.inbox_of("native"), 8 << 20);
  for (const Asked& call : fake.asked) EXPECT_EQ(call.inbox_bytes, call.backend == "nccl" ? 0 : 8 << 20);
}

TEST(Tune, AnyWorldSize) {
  for (int world_size = 2; world_size <= kMaxWorldSize; ++world_size) {
    FakeMachine fake;
    fake.machine = machine_of(world_size);
    fake.time = [](const Asked& call) { return call.algorithm == kRingBulk && call.blocks == 16 ? 5.0 : 10.0; };
    const TuneResult result =
        fake.tune({.ops = {tunable_ops().begin(), tunable_ops().end()}, .sizes = {1 << 10, 256 << 10, 16 << 20}});
    EXPECT_THAT(result.findings, IsEmpty());
    EXPECT_THAT(result.sizes, SizeIs(2u * 5 * 3));
    EXPECT_EQ(chosen(result, "p2p", Collective::kAllGather, 256 << 10).built_in, false) << world_size;
    EXPECT_EQ(parse_snapshot(snapshot_json(result.profile), "x"), result.profile);
  }
}

}  // namespace
}  // namespace tandem
