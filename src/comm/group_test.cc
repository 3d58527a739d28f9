#include "comm/group.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "comm/communicator.h"
#include "comm/cpu/cpu_group.h"
#include "comm/rank_team.h"
#include "device/buffer.h"

namespace tandem {
namespace {

Error error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "did not throw";
  return Error(ErrorKind::kInternal, "none");
}

TEST(Group, RefusesSizesAndTimeoutsOutOfRange) {
  for (const int world_size : {-1, 0, 17}) {
    const Error error = error_of([&] { Group({.world_size = world_size}); });
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find(std::to_string(world_size)), std::string::npos) << error.what();
  }
  for (const auto timeout :
       {std::chrono::nanoseconds(0), std::chrono::nanoseconds(-1), std::chrono::nanoseconds::max()}) {
    EXPECT_EQ(error_of([&] { Group({.timeout = timeout}); }).kind(), ErrorKind::kInvalidArgument);
  }
}

TEST(Group, RanksPollOnlyWhereAllThreadsHaveACore) {
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  EXPECT_GT(CpuGroup({.world_size = 1}).spin(), Clock::duration::zero());
  EXPECT_EQ(CpuGroup({.world_size = 1, .num_threads = cores + 1}).spin(), Clock::duration::zero());
  if (cores < kMaxWorldSize) {
    EXPECT_EQ(CpuGroup({.world_size = cores + 1}).spin(), Clock::duration::zero());
  }
}

TEST(Group, KeepsTheFirstCause) {
  const Group group({.world_size = 2});
  EXPECT_FALSE(group.aborted());
  EXPECT_TRUE(group.abort(1, "on fire", ErrorKind::kPeerLost, "water"));
  EXPECT_FALSE(group.abort(0, "smoke", ErrorKind::kTimeout));
  EXPECT_TRUE(Group(group).aborted()) << "a copy names the same group";
  const Error error = error_of([&] { group.throw_cause("here"); });
  EXPECT_EQ(error.kind(), ErrorKind::kPeerLost);
  EXPECT_STREQ(error.what(), "rank 1 failed: on fire\n  here");
  EXPECT_EQ(error.hint(), "water");
}

// Back-ends lock memory and load kernels, which takes seconds.
TEST(Group, AbortDoesNotWaitForABackendThatIsBeingMade) {
  struct State final : BackendState {
    void wake_all() noexcept override { ++woken; }
    int woken = 0;
  };
  const Group group({.world_size = 2});
  std::promise<void> began, may_end;
  std::shared_ptr<BackendState> made;
  std::jthread maker([&] {
    made = group.backend_state("slow", [&] {
      began.set_value();
      // Ends by itself where the abort waits for it: a failure, not a hang.
      may_end.get_future().wait_for(std::chrono::seconds(10));
      return std::make_shared<State>();
    });
  });
  began.get_future().wait();
  const Clock::time_point start = Clock::now();
  EXPECT_TRUE(group.abort(-1, "interrupted", ErrorKind::kCancelled));
  EXPECT_LT(seconds_since(start), 5);
  may_end.set_value();
  maker.join();
  EXPECT_EQ(static_cast<State&>(*made).woken, 1) << "it was not told of the abort";
  EXPECT_EQ(group.backend_state("slow", [] { return std::make_shared<State>(); }), made);
}

TEST(MakeCommunicator, NamesWhatItCanMake) {
  const Group group({.world_size = 2});
  const Error unknown = error_of([&] { make_communicator("gloo", group, 0); });
  EXPECT_EQ(unknown.kind(), ErrorKind::kInvalidArgument);
  EXPECT_STREQ(unknown.what(), "unknown communication back-end \"gloo\"");
  EXPECT_EQ(unknown.hint(), "known are auto, p2p, nccl, native, cpu");
  for (const char* name : {"p2p", "nccl", "native"}) {
    const Error unsupported = error_of([&] { make_communicator(name, group, 0); });
    EXPECT_EQ(unsupported.kind(), ErrorKind::kUnsupported);
    EXPECT_EQ(unsupported.hint(), "here works: cpu");
  }
  EXPECT_EQ(make_communicator("cpu", group, 0)->backend(), "cpu");
  EXPECT_EQ(make_communicator("auto", group, 1)->backend(), "cpu") << "ranks are CPUs";
}

TEST(MakeCommunicator, RefusesGpusForTheCpusBackend) {
  const Device gpu{DeviceKind::kCuda, 3};
  for (const auto& [backend, devices] :
       {std::pair("cpu", std::vector<Device>{gpu, gpu}), {"cpu", {Device{}, gpu}}, {"auto", {Device{}, gpu}}}) {
    const Group group({.world_size = 2, .devices = devices});
    const Error error = error_of([&, name = backend] { make_communicator(name, group, 0); });
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("is on cuda:3"), std::string::npos) << error.what();
  }
}

TEST(MakeCommunicator, RefusesRanksOutsideTheGroupAndTwins) {
  const Group group({.world_size = 2});
  EXPECT_EQ(error_of([&] { make_communicator("cpu", group, 2); }).kind(), ErrorKind::kInvalidArgument);
  EXPECT_EQ(error_of([&] { make_communicator("cpu", group, -1); }).kind(), ErrorKind::kInvalidArgument);
  const auto first = make_communicator("cpu", group, 1);
  EXPECT_EQ(error_of([&] { make_communicator("cpu", group, 1); }).kind(), ErrorKind::kInvalidArgument);
}

TEST(GetAvailableBackends, ServesCpusOnly) {
  EXPECT_EQ(get_available_backends(std::vector<Device>(3)), std::vector<std::string>{"cpu"});
  EXPECT_TRUE(get_available_backends({}).empty());
  EXPECT_TRUE(get_available_backends(std::vector<Device>(17)).empty());
  EXPECT_TRUE(get_available_backends(std::vector<Device>{{}, {DeviceKind::kCuda, 0}}).empty());
}

class CommLog : public testing::Test {
 protected:
  void TearDown() override { set_log_level(Subsystem::kComm, LogLevel::kWarn); }
  // What a group of two logs in its life at `level`.
  static std::string log_at(LogLevel level) {
    set_log_level(Subsystem::kComm, level);
    testing::internal::CaptureStderr();
    {
      RankTeam team({.world_size = 2});
      team.run([](RankContext& context) {
        const OwnedTensor x(context.stream.device(), DType::kF32, {576});
        context.comm.all_reduce(context.stream, x.tensor);
        if (context.rank == 0) context.comm.send(context.stream, x.tensor, 1);
        if (context.rank == 1) context.comm.recv(context.stream, x.tensor, 0);
      });
      team.abort("interrupted");
    }
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(CommLog, TracesEveryCollective) {
  const std::string text = log_at(LogLevel::kTrace);
  for (const char* part :
       {"group of 2 ranks, timeout 10000 ms", "[rank 0 cpu:0] all-reduce, 2304 bytes, call 1",
        "[rank 1 cpu:1] all-reduce, 2304 bytes, call 1", "[rank 0 cpu:0] send, 2304 bytes, to rank 1",
        "[rank 1 cpu:1] recv, 2304 bytes, from rank 0", "group aborted (cancelled): cancelled: interrupted"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " not in\n" << text;
  }
}

TEST_F(CommLog, DebugNamesGroupsAndAborts) {
  const std::string text = log_at(LogLevel::kDebug);
  EXPECT_NE(text.find("group of 2 ranks"), std::string::npos) << text;
  EXPECT_NE(text.find("group aborted"), std::string::npos) << text;
  EXPECT_EQ(text.find("all-reduce"), std::string::npos) << text;
}

TEST_F(CommLog, IsSilentByDefault) {
  EXPECT_EQ(log_at(LogLevel::kWarn), "");
}

}  // namespace
}  // namespace tandem
