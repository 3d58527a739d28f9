#include "comm/rank_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "comm/doorbell.h"
#include "device/buffer.h"

namespace tandem {
namespace {

using namespace std::chrono_literals;

// What all_reduce makes of one f32 per rank.
float sum_of(RankContext& context, float value) {
  const OwnedTensor x(context.stream.device(), DType::kF32, {1});
  *x.tensor.data<float>() = value;
  context.comm.all_reduce(context.stream, x.tensor);
  return *x.tensor.data<float>();
}

Error error_of_run(RankTeam& team, const std::function<void(RankContext&)>& body) {
  try {
    team.run(body);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "run() did not throw";
  return Error(ErrorKind::kInternal, "none");
}

class RankTeamOf : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, RankTeamOf, testing::Values(1, 2, 3, 16));

TEST_P(RankTeamOf, RunsEachJobOnceOnEveryRank) {
  const int n = GetParam();
  RankTeam team({.world_size = n, .threads_per_rank = 2});
  std::vector<int> calls(static_cast<std::size_t>(n));
  for (int job = 0; job < 100; ++job) {
    team.run([&](RankContext& context) {
      EXPECT_EQ(context.world_size, n);
      EXPECT_EQ(context.stream.num_threads(), 2);
      EXPECT_EQ(context.comm.rank(), context.rank);
      ++calls[static_cast<std::size_t>(context.rank)];
    });
  }
  EXPECT_EQ(calls, std::vector<int>(static_cast<std::size_t>(n), 100));
}

TEST_P(RankTeamOf, RanksReachEachOtherInEveryJob) {
  const int n = GetParam();
  RankTeam team({.world_size = n});
  for (int job = 0; job < 50; ++job) {
    team.run([&](RankContext& context) {
      EXPECT_EQ(sum_of(context, static_cast<float>(job)), static_cast<float>(job * n));
    });
    if (job % 10 == 9) std::this_thread::sleep_for(1ms);  // long enough for all to sleep
  }
}

TEST_P(RankTeamOf, RethrowsTheFirstCauseItself) {
  const int n = GetParam();
  RankTeam team({.world_size = n});
  struct OutOfCheese : std::runtime_error {
    OutOfCheese() : std::runtime_error("out of cheese") {}
  };
  for (int culprit : {0, n - 1}) {
    EXPECT_THROW(team.run([&](RankContext& context) {
      sum_of(context, 1);
      if (context.rank == culprit) throw OutOfCheese();
      for (int i = 0; n > 1 && i < 1000; ++i) sum_of(context, 1);
    }),
                 OutOfCheese);
    const Error later = error_of_run(team, [](RankContext&) { ADD_FAILURE() << "a broken team works"; });
    EXPECT_EQ(later.kind(), ErrorKind::kPeerLost);
    EXPECT_EQ(std::string(later.what()), format("rank {} failed: out of cheese", culprit));
    team.rebuild();
    team.run([&](RankContext& context) { EXPECT_EQ(sum_of(context, 2), static_cast<float>(2 * n)); });
  }
}

TEST_P(RankTeamOf, KeepsKindAndHintOfAnError) {
  RankTeam team({.world_size = GetParam()});
  const Error error = error_of_run(team, [](RankContext& context) {
    if (context.rank == 0) fail_with_hint(ErrorKind::kOutOfMemory, "no page left", "a smaller batch");
    context.comm.barrier();
  });
  EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
  EXPECT_EQ(error.hint(), "a smaller batch");
}

TEST_P(RankTeamOf, AbortFromAnotherThreadCancels) {
  const int n = GetParam();
  RankTeam team({.world_size = n});
  for (int round = 0; round < 5; ++round) {
    std::jthread interrupt([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(4 * round));
      team.abort("interrupted");
    });
    const Clock::time_point start = Clock::now();
    const Error error = error_of_run(team, [](RankContext& context) {
      for (;;) sum_of(context, 1);
    });
    EXPECT_LT(seconds_since(start), 5);
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
    EXPECT_TRUE(std::string(error.what()).starts_with("cancelled: interrupted")) << error.what();
    interrupt.join();
    team.rebuild();
  }
}

TEST(RankTeam, AbortCancelsBodiesThatDoNotCommunicate) {
  RankTeam team({.world_size = 2});
  const Error error = error_of_run(team, [&](RankContext& context) {
    if (context.rank == 0) team.abort("enough");
    while (!context.comm.group().aborted()) std::this_thread::sleep_for(1ms);
  });
  EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
}

TEST(RankTeam, AbortBetweenRunsCancelsTheNext) {
  RankTeam team({.world_size = 2});
  team.abort("too early");
  EXPECT_EQ(error_of_run(team, [](RankContext&) { ADD_FAILURE(); }).kind(), ErrorKind::kCancelled);
  team.rebuild();
  team.run([](RankContext& context) { context.comm.barrier(); });
}

TEST(RankTeam, RankThatStopsBecomesATimeoutThatNamesIt) {
  RankTeam team({.world_size = 3, .timeout = 500ms});
  std::atomic<int> started{0};
  const Error error = error_of_run(team, [&](RankContext& context) {
    // Meet outside of the group, so that no rank but the one that stops is late.
    for (++started; started.load() < 3;) std::this_thread::yield();
    if (context.rank != 1) sum_of(context, 1);
  });
  EXPECT_EQ(error.kind(), ErrorKind::kTimeout);
  EXPECT_NE(std::string(error.what()).find("waits for rank"), std::string::npos) << error.what();
  EXPECT_NE(std::string(error.what()).find("rank 1 has made no call yet"), std::string::npos) << error.what();
  EXPECT_NE(error.hint().find("--timeout"), std::string::npos) << error.hint();
}

TEST(RankTeam, LongBodyIsNoFailure) {
  RankTeam team({.world_size = 2, .timeout = 10ms});
  team.run([](RankContext& context) {
    if (context.rank == 1) std::this_thread::sleep_for(50ms);
  });
}

TEST(RankTeam, SaysSeldomWhomItWaitsForAfterAnAbort) {
  RankTeam team({.world_size = 2, .timeout = 1ms});
  testing::internal::CaptureStderr();
  const Clock::time_point start = Clock::now();
  error_of_run(team, [&](RankContext& context) {
    if (context.rank == 0) team.abort("enough");
    if (context.rank == 1) std::this_thread::sleep_for(1300ms);
  });
  const double seconds = seconds_since(start);
  const std::string text = testing::internal::GetCapturedStderr();
  int reports = 0;
  for (std::size_t at = 0; (at = text.find("rank 1 still works", at)) != text.npos; ++at) ++reports;
  EXPECT_GE(reports, 1) << text;
  EXPECT_LE(reports, seconds) << text;
}

TEST(RankTeam, RefusesARunInsideARun) {
  RankTeam team({.world_size = 2});
  EXPECT_EQ(error_of_run(team,
                         [&](RankContext& context) {
                           if (context.rank == 1) team.run([](RankContext&) {});
                         })
                .kind(),
            ErrorKind::kInternal);
}

TEST(RankTeam, RefusesImpossibleSizesAndBackends) {
  EXPECT_THROW(RankTeam({.world_size = 17}), Error);
  EXPECT_THROW(RankTeam({.world_size = 0}), Error);
  EXPECT_THROW(RankTeam({.world_size = -1}), Error);
  EXPECT_THROW(RankTeam({.world_size = 2, .backend = "smoke signals"}), Error);
}

TEST(Doorbell, WakesASleeperAndKeepsDeadlines) {
  Doorbell bell;
  std::atomic<bool> go{false};
  const Clock::time_point start = Clock::now();
  EXPECT_FALSE(bell.wait([&] { return go.load(); }, 0us, start + 20ms));
  EXPECT_GE(Clock::now(), start + 20ms);
  std::jthread ringer([&] {
    std::this_thread::sleep_for(10ms);
    go = true;
    bell.ring();
  });
  EXPECT_TRUE(bell.wait([&] { return go.load(); }, 0us, Clock::time_point::max()));
}

}  // namespace
}  // namespace tandem
