// The contract suite on "nccl". NCCL puts one rank on a GPU, so worlds larger than the machine are skipped.
#include "comm/communicator_contract.h"
#include "comm/gpu/test_machines.h"

namespace tandem::contract {
namespace {

std::vector<Case> nccl_cases() {
  std::vector<Case> cases = contract_cases("nccl", false, [] {
    return std::make_unique<ThreadRig>("nccl", [](int rank) { return Stream::cuda(rank); }, devices_of_ranks);
  });
  for (Case& value : cases) {
    value.why_skipped = [world_size = value.world_size] { return why_no_nccl(world_size); };
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Nccl, CommunicatorContract, testing::ValuesIn(nccl_cases()), contract_case_name);

class NcclCommunicator : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = why_no_nccl(kWorldSize); !reason.empty()) GTEST_SKIP() << reason;
  }
  static std::vector<Outcome> run(const GroupOptions& options, const Body& body) {
    ThreadRig rig("nccl", [](int rank) { return Stream::cuda(rank); }, devices_of_ranks);
    return rig.run(options, body, {});
  }
  static constexpr int kWorldSize = 2;
};

TEST_F(NcclCommunicator, TwoRanksOnOneGpuAreRefused) {
  const Group group(
      {.world_size = 2, .devices = {{DeviceKind::kCuda, 0}, {DeviceKind::kCuda, 0}}, .shared_devices = true});
  try {
    make_communicator("nccl", group, 0);
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported) << error.what();
    EXPECT_NE(std::string(error.what()).find("[shared-gpu]"), std::string::npos) << error.what();
  }
}

TEST_F(NcclCommunicator, OneThreadMayMakeAllRanksOneAfterTheOther) {
  const Group group({.world_size = kWorldSize, .devices = devices_of_ranks(kWorldSize)});
  std::vector<std::unique_ptr<Communicator>> comms;
  for (int r = 0; r < kWorldSize; ++r) comms.push_back(make_communicator("nccl", group, r));
  std::vector<std::jthread> threads;
  for (const auto& comm : comms) {
    threads.emplace_back([&comm] {
      cuda::use_device(comm->rank());
      const Stream stream = Stream::cuda(comm->rank());
      EXPECT_NO_THROW(perform(*comm, stream, {.op = Op::kAllReduce, .count = 576}));
    });
  }
}

// The GPU's own deadline does not exist: the host sees which of several calls hangs, though all of them are queued.
TEST_F(NcclCommunicator, LateRankIsNamedAtTheCallThatItDidNotMake) {
  const Clock::time_point start = Clock::now();
  const std::vector<Outcome> outcomes =
      run({.world_size = kWorldSize, .timeout = 500ms}, [](Communicator& comm, const Stream& stream) {
        const Array x(stream, DType::kF32, 10), y(stream, DType::kF32, 20);
        comm.all_reduce(stream, x.tensor());
        comm.synchronize(stream);
        if (comm.rank() == 0) {
          for (int i = 0; i < 3; ++i) comm.all_reduce(stream, i == 0 ? y.tensor() : x.tensor());
        }
        while (comm.rank() == 1 && !comm.group().aborted()) std::this_thread::sleep_for(1ms);
        comm.synchronize(stream);
      });
  EXPECT_LT(seconds_since(start), 30);
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.kind, ErrorKind::kTimeout) << outcome.message;
    EXPECT_NE(outcome.message.find("all-reduce of 20 f32, call 2, timed out after 0.5 s: rank 0 waits for rank 1"),
              std::string::npos)
        << outcome.message;
  }
}

TEST_F(NcclCommunicator, GraphsOfCallsRunAgainAndAgain) {
  const std::vector<Outcome> outcomes = run({.world_size = kWorldSize}, [](Communicator& comm, const Stream& stream) {
    const std::vector<std::int32_t> ones(100, 1), eights(100, 8);
    const Array x(stream, DType::kI32, std::as_bytes(std::span(ones)));
    {
      const cuda::Graph graph(stream.device().index, stream.cuda_handle(),
                              [&] { comm.all_reduce(stream, x.tensor()); });
      for (int i = 0; i < 3; ++i) graph.launch(stream.cuda_handle());
      comm.synchronize(stream);
    }
    x.require_equal(stream, std::as_bytes(std::span(eights)), "three sums of two ranks");
  });
  for (const Outcome& outcome : outcomes) EXPECT_TRUE(outcome.ok) << outcome.message;
}

}  // namespace
}  // namespace tandem::contract
