// Groups that cannot be, on GPUs: each is refused by name. What ranks may disagree about is in the contract.
#include <gtest/gtest.h>

#include <cstdlib>

#include "comm/communicator_contract_calls.h"
#include "comm/gpu/gpu_group.h"
#include "comm/gpu/test_machines.h"

namespace tandem::contract {
namespace {

Error refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "not refused";
  return Error(ErrorKind::kInternal, "none");
}

bool contains(const Error& error, const std::string& part) {
  return std::string(error.what()).find(part) != std::string::npos;
}

// A graph is launched long after its calls: the error of such a launch still names the call.
TEST(CallSequence, RemembersCallsOfGraphsWhenOthersAreForgotten) {
  CallSequence calls;
  calls.add({.op = Collective::kAllReduce, .count = 1});
  calls.add({.op = Collective::kAllReduce, .count = 2, .captured = true});
  for (std::uint32_t i = 0; i < 2 * CallSequence::kRemembered; ++i) {
    calls.add({.op = Collective::kBroadcast, .count = 3 + i});
  }
  EXPECT_FALSE(calls.find(1));
  ASSERT_TRUE(calls.find(2));
  EXPECT_EQ(calls.find(2)->count, 2);
  EXPECT_FALSE(calls.find(3));
  const std::uint32_t last = 2 + 2 * CallSequence::kRemembered;
  ASSERT_TRUE(calls.find(last));
  EXPECT_EQ(calls.find(last)->count, last);
  EXPECT_FALSE(calls.find(last + 1));
}

class GroupOnGpus : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (cuda::num_devices() == 0) GTEST_SKIP() << "no GPU here";
  }
  static Error refusal_of(const std::vector<Device>& devices, int world_size) {
    const Group group({.world_size = world_size, .devices = devices});
    return refusal([&] { make_communicator(GetParam(), group, 0); });
  }
};
INSTANTIATE_TEST_SUITE_P(Every, GroupOnGpus, testing::Values("p2p", "native", "nccl", "auto"),
                         [](const auto& test) { return std::string(test.param); });

constexpr Device kFirst{DeviceKind::kCuda, 0};

TEST_P(GroupOnGpus, RefusesOneGpuForTwoRanks) {
  const Error error = refusal_of({kFirst, kFirst}, 2);
  EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument) << error.what();
  EXPECT_TRUE(contains(error, "cuda:0 is given to more than one rank")) << error.what();
}

TEST_P(GroupOnGpus, RefusesGpusThatAreNotThere) {
  for (const int index : {cuda::num_devices(), 99, -1}) {
    const Error error = refusal_of({kFirst, {DeviceKind::kCuda, index}}, 2);
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound) << error.what();
    EXPECT_TRUE(contains(error, format("there is no cuda:{}; {} GPUs are visible", index, cuda::num_devices())))
        << error.what();
  }
}

TEST_P(GroupOnGpus, RefusesMoreAndFewerGpusThanRanks) {
  for (const int world_size : {2, 3}) {
    const Error error = refusal_of(std::vector<Device>(world_size == 2 ? 1 : 4, kFirst), world_size);
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument) << error.what();
    EXPECT_TRUE(contains(error, format("devices for {} ranks", world_size))) << error.what();
  }
}

TEST_P(GroupOnGpus, RefusesCpusBesideGpus) {
  for (const std::vector<Device>& devices : {std::vector<Device>{kFirst, Device{}}, {Device{}, kFirst}}) {
    const Error error = refusal_of(devices, 2);
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument) << error.what();
  }
}

TEST(GroupsOnGpus, RefuseAnotherBackendOnAnotherRank) {
  if (cuda::num_devices() < 2) GTEST_SKIP() << "needs 2 GPUs, here are " << cuda::num_devices();
  const Group group({.world_size = 2, .devices = devices_of_ranks(2)});
  const auto first = make_communicator("native", group, 0);
  for (const char* other : {"p2p", "nccl", "auto"}) {
    const Error error = refusal([&] { make_communicator(other, group, 1); });
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument) << error.what();
    EXPECT_TRUE(contains(
        error,
        format("rank 1 wants the back-end \"{}\", and another rank of its group has made one of \"native\"", other)))
        << error.what();
  }
  EXPECT_EQ(refusal([&] { make_communicator("native", group, 0); }).kind(), ErrorKind::kInvalidArgument)
      << "a second communicator of rank 0";
  EXPECT_EQ(make_communicator("native", group, 1)->backend(), "native");
}

// The driver reads the variable when it starts: so this runs in a process of its own (comm_launch_blocking_test).
TEST(LaunchBlocking, IsWarnedOfOnceAndWorks) {
  const char* value = std::getenv("CUDA_LAUNCH_BLOCKING");
  if (value == nullptr || std::string(value) != "1") GTEST_SKIP() << "CUDA_LAUNCH_BLOCKING is not 1";
  if (cuda::num_devices() < 2) GTEST_SKIP() << "needs 2 GPUs, here are " << cuda::num_devices();
  for (const char* backend : {"native", "p2p"}) {
    testing::internal::CaptureStderr();
    ThreadRig rig(backend, [](int rank) { return Stream::cuda(rank); }, devices_of_ranks);
    const auto outcomes = rig.run({.world_size = 2},
                                  [](Communicator& comm, const Stream& stream) {
                                    for (const Op op : kAllOps) perform(comm, stream, {.op = op, .count = 40'001});
                                  },
                                  {});
    const std::string text = testing::internal::GetCapturedStderr();
    for (const Outcome& outcome : outcomes) EXPECT_TRUE(outcome.ok) << outcome.message;
    const std::string warning = "CUDA_LAUNCH_BLOCKING is 1: outside of graphs";
    const std::size_t at = text.find(warning);
    EXPECT_EQ(at != text.npos, std::string(backend) == "native") << "in the first group alone:\n" << text;
    EXPECT_TRUE(at == text.npos || text.find(warning, at + 1) == text.npos) << text;
  }
}

}  // namespace
}  // namespace tandem::contract
