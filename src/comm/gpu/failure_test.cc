// A rank that fails on GPUs, whatever carries the bytes: every other rank gets an error that names it, within a second
// at a deadline of half a second, in graphs too; nothing stays on the GPUs; and a group made anew works.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ostream>
#include <thread>

#include "base/clock.h"
#include "comm/communicator_contract_calls.h"
#include "comm/gpu/stall.h"
#include "comm/gpu/test_machines.h"
#include "comm/rank_team.h"

namespace tandem::contract {
namespace {

using namespace std::chrono_literals;

enum class Fault {
  kThrows,  ///< the rank's function throws while the others wait for it
  kStops,   ///< it stops calling
  kStalls,  ///< it calls, but its GPU does not come to it: a kernel before hangs
};

struct Case {
  std::string plan;  ///< a back-end, or two that take turns
  int world_size;
  Fault fault;
  bool in_graph;
  bool uses(const char* backend) const { return plan.find(backend) != plan.npos; }
  bool is_nccl() const { return plan == "nccl"; }
  friend void PrintTo(const Case& value, std::ostream* out) { *out << value.plan << ", " << value.world_size; }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* plan : {"p2p", "native", "nccl", "p2p_native", "native_nccl"}) {
    for (const int world_size : {2, 3, 4}) {
      for (const Fault fault : {Fault::kThrows, Fault::kStops, Fault::kStalls}) {
        for (const bool in_graph : {false, true}) all.push_back({plan, world_size, fault, in_graph});
      }
    }
  }
  return all;
}

std::string name(const testing::TestParamInfo<Case>& info) {
  static constexpr const char* kFaults[] = {"Throws", "Stops", "Stalls"};
  return format("{}_{}_{}{}", info.param.plan, info.param.world_size, kFaults[static_cast<int>(info.param.fault)],
                info.param.in_graph ? "_InGraph" : "");
}

/// All-reduces of two sizes in turn, queued one by one or as a graph, again and again.
class Calls {
 public:
  Calls(RankContext& context, std::int64_t count, std::int64_t other, bool in_graph) : context_(context) {
    for (const std::int64_t elements : {count, other}) {
      const Spec spec{.count = elements, .id = static_cast<std::uint32_t>(elements)};
      const auto x = encode(spec.dtype, contribution(spec, context.rank, elements));
      std::vector<int> sum(static_cast<std::size_t>(elements));
      for (int r = 0; r < context.world_size; ++r) {
        const std::vector<int> theirs = contribution(spec, r, elements);
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += theirs[i];
      }
      in_.emplace_back(context.stream, spec.dtype, x);
      out_.emplace_back(context.stream, spec.dtype, elements);
      expected_.push_back(encode(spec.dtype, sum));
    }
    context.stream.synchronize();
    if (in_graph) {
      graph_.emplace(context.stream.device().index, context.stream.cuda_handle(), [&] { call(kCallsOfGraph); });
    }
  }
  void queue() {
    if (graph_) {
      graph_->launch(context_.stream.cuda_handle());
    } else {
      call(2);
    }
  }
  void run_and_check() {
    queue();
    context_.comm.synchronize(context_.stream);
    for (std::size_t i = 0; i < 2; ++i) out_[i].require_equal(context_.stream, expected_[i], "before the fault");
  }

 private:
  static constexpr int kCallsOfGraph = 160;  // of a token, in a model of 80 layers
  void call(int calls) {
    for (int i = 0; i < calls; ++i) {
      const auto which = static_cast<std::size_t>(i % 2);
      context_.comm.all_reduce(context_.stream, out_[which].tensor(), in_[which].tensor());
    }
  }
  RankContext& context_;
  std::vector<Array> in_, out_;
  std::vector<std::vector<std::byte>> expected_;
  std::optional<cuda::Graph> graph_;  // goes first: a communicator of NCCL's waits for it to end
};

class Meeting {
 public:
  void meet(const Communicator& comm) {
    for (++num_here_; num_here_.load() < comm.world_size() && !comm.group().aborted();) std::this_thread::yield();
  }

 private:
  std::atomic<int> num_here_{0};
};

class FailureOnGpus : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (cuda::num_devices() == 0) GTEST_SKIP() << "no GPU here";
    if (!GetParam().uses("nccl")) return;
    if (const std::string reason = why_no_nccl(GetParam().world_size); !reason.empty()) GTEST_SKIP() << reason;
  }

  RankTeamOptions options() const {
    RankTeamOptions options{.world_size = GetParam().world_size, .backend = GetParam().plan};
    options.devices = devices_of_ranks(options.world_size);
    options.shared_devices = true;
    // Where the rank throws, nobody is to wait for a deadline.
    options.timeout = GetParam().fault == Fault::kThrows ? std::chrono::nanoseconds(10s) : 500ms;
    if (const std::size_t split = options.backend.find('_'); split != std::string::npos) {
      const std::string first = options.backend.substr(0, split), second = options.backend.substr(split + 1);
      options.machine = mixed_machine(options.devices, first, second);
      options.backend = "auto";
    }
    return options;
  }

  /// How a rank's part ended.
  struct End {
    std::string message;
    std::optional<ErrorKind> kind;
    double seconds = 0;  ///< since it queued what failed; where the culprit throws, since then
    bool drained = false;
  };
  std::vector<End> fail_once(RankTeam& team, std::int64_t count, std::int64_t other);
  /// `calls_before`: of the communicators, before those of fail_once.
  void check(const std::vector<End>& ends, std::int64_t count, int calls_before) const;

  int culprit() const { return GetParam().world_size - 1; }
};
INSTANTIATE_TEST_SUITE_P(All, FailureOnGpus, testing::ValuesIn(cases()), name);

std::vector<FailureOnGpus::End> FailureOnGpus::fail_once(RankTeam& team, std::int64_t count, std::int64_t other) {
  const auto [plan, world_size, fault, in_graph] = GetParam();
  std::vector<End> ends(static_cast<std::size_t>(world_size));
  Stall stall(options().devices);
  Meeting ready, worked;
  std::atomic<int> num_failed{0};
  std::atomic<Clock::duration::rep> thrown_at{0};
  Clock::time_point released;
  const auto part = [&](RankContext& context) {
    Calls calls(context, count, other, in_graph);
    ready.meet(context.comm);
    calls.run_and_check();
    worked.meet(context.comm);
    Clock::time_point start = Clock::now();
    End& end = ends[static_cast<std::size_t>(context.rank)];
    try {
      if (context.rank == culprit()) {
        if (fault == Fault::kThrows) {
          std::this_thread::sleep_for(100ms);  // the others' kernels wait by then
          thrown_at = Clock::now().time_since_epoch().count();
          throw std::runtime_error("out of cheese");
        }
        if (fault == Fault::kStops) {
          while (!context.comm.group().aborted()) std::this_thread::sleep_for(1ms);
        }
        if (fault == Fault::kStalls) stall.queue(context.stream);
      }
      const bool dead = context.rank == culprit() && fault == Fault::kStops;
      if (!dead) calls.queue();
      context.comm.synchronize(context.stream);
      end.message = "it worked";
    } catch (const std::exception& error) {
      const auto* ours = dynamic_cast<const Error*>(&error);
      if (thrown_at.load() != 0) start = Clock::time_point(Clock::duration(thrown_at.load()));
      end.message = error.what();
      if (ours != nullptr) end.kind = ours->kind();
      end.seconds = seconds_since(start);
      end.drained = cuda::is_done(context.stream.device().index, context.stream.cuda_handle());
      if (context.rank != culprit() && ++num_failed == world_size - 1) {
        released = Clock::now();
        stall.release();
      }
      throw;
    }
  };
  EXPECT_ANY_THROW(team.run(part));
  EXPECT_LT(seconds_since(released), 1) << "a rank's stream is not empty, or its thread not free";
  return ends;
}

void FailureOnGpus::check(const std::vector<End>& ends, std::int64_t count, int calls_before) const {
  const auto& [plan, world_size, fault, in_graph] = GetParam();
  for (int r = 0; r < world_size; ++r) {
    const End& end = ends[static_cast<std::size_t>(r)];
    SCOPED_TRACE(format("rank {} after {:.3f} s: {}", r, end.seconds, end.message));
    const auto has = [&](const std::string& part) {
      EXPECT_NE(end.message.find(part), std::string::npos) << "without \"" << part << '"';
    };
    EXPECT_TRUE(end.drained);
    if (fault == Fault::kThrows && r == culprit()) {
      EXPECT_EQ(end.message, "out of cheese");
      continue;
    }
    has(format("rank {} was in ", r));
    if (fault == Fault::kThrows) {
      EXPECT_EQ(end.kind, ErrorKind::kPeerLost);
      EXPECT_LT(end.seconds, 0.5);  // milliseconds; far below the timeout of ten seconds
      has(format("rank {} failed: out of cheese", culprit()));
      continue;
    }
    EXPECT_EQ(end.kind, ErrorKind::kTimeout);
    if (r != culprit()) {
      EXPECT_LT(end.seconds, 1);
    }
    // Of a graph, the host that keeps NCCL's deadline does not see which call it is at.
    has(GetParam().uses("nccl") && in_graph ? "all-reduce of " : format("all-reduce of {} f32, call ", count));
    has(" timed out after 0.5 s: rank ");
    has(format(" waits for rank {}\n", culprit()));
    EXPECT_EQ(end.message.find(format("rank {} waits for", culprit())), std::string::npos);
    has(in_graph ? " as captured" : "operation ");
    if (GetParam().plan == "native_nccl") continue;  // both queue; either may be the first to say it
    if (!GetParam().is_nccl()) {
      has(", generation ");
      has(", phase ");
    } else if (in_graph) {
      has(format("rank {} has begun launch 1", culprit()));  // and the others launch 2
    } else {
      const int done = calls_before + 2;
      has(format("rank {} has called {}, its GPU begun {} and completed {}", culprit(),
                 fault == Fault::kStops ? done : done + 2, done, done));
    }
  }
}

TEST_P(FailureOnGpus, IsNamedOnEveryRankAndANewGroupWorks) {
  // In one shot, in two, and in rings; what is no multiple of the number of ranks leaves some with less to do.
  std::vector<std::int64_t> counts = {576, 200'003, 2'000'003};
  if (GetParam().fault == Fault::kThrows) counts = {576};  // nobody looks at what is waited for
  RankTeam team(options());
  int calls_before = 0;
  for (const std::int64_t count : counts) {
    SCOPED_TRACE(format("{} elements", count));
    const std::int64_t other = count == 576 ? 40'001 : 576;
    check(fail_once(team, count, other), count, calls_before);
    if (HasFatalFailure()) return;
    EXPECT_TRUE(team.aborted());
    EXPECT_THROW(team.run([](RankContext&) {}), Error);
    team.rebuild();
    EXPECT_NO_THROW(team.run([&](RankContext& context) {
      for (const std::int64_t elements : {count, other}) {
        perform(context.comm, context.stream, {.op = Op::kAllReduce, .count = elements});
      }
    }));
    calls_before = 2;
  }
}

// Its own thread does not look at the stream, and where there are no peers its GPU can tell no other.
TEST(KernelThatGivesUp, IsNoticedByAnotherRanksThread) {
  if (cuda::num_devices() < 2) GTEST_SKIP() << "needs 2 GPUs, here are " << cuda::num_devices();
  for (const char* backend : {"native", "p2p"}) {
    SCOPED_TRACE(backend);
    RankTeamOptions options{.world_size = 2, .backend = backend, .timeout = 500ms};
    options.devices = devices_of_ranks(2);
    RankTeam team(options);
    Stall stall(options.devices);
    Meeting ready;
    double seconds = 0;
    std::string message;
    EXPECT_ANY_THROW(team.run([&](RankContext& context) {
      const Array x(context.stream, DType::kF32, 576);
      context.stream.synchronize();
      ready.meet(context.comm);
      const Clock::time_point start = Clock::now();
      if (context.rank == 0) {
        context.comm.all_reduce(context.stream, x.tensor());
        while (!context.comm.group().aborted() && seconds_since(start) < 5) std::this_thread::sleep_for(1ms);
        seconds = seconds_since(start);
      } else {
        stall.queue(context.stream);
      }
      try {
        context.comm.synchronize(context.stream);
      } catch (const Error& error) {
        if (context.rank == 1) message = error.what();
        stall.release();
        throw;
      }
    }));
    EXPECT_LT(seconds, 1);
    EXPECT_NE(message.find("timed out after 0.5 s: rank 0 waits for rank 1\n"), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace tandem::contract
