// The contract suite on "p2p", "native" and a plan that mixes both. Ranks beyond the GPUs that are there share them,
// which no user may.
#include "comm/communicator_contract.h"
#include "comm/gpu/test_machines.h"
#include "comm/push/push_plan.h"

namespace tandem::contract {
namespace {

std::vector<Case> gpu_cases(const std::string& backend, const ThreadRig::Machine& machine = {}) {
  return contract_cases(backend, true, [backend, machine] {
    return std::make_unique<ThreadRig>(
        backend, [](int rank) { return Stream::cuda(rank % cuda::num_devices()); }, devices_of_ranks, machine);
  });
}

// Every algorithm at sizes at which nobody would choose it.
std::shared_ptr<const MachineSnapshot> tuned_machine(const std::vector<Device>& devices) {
  MachineSnapshot machine = *mixed_machine(devices, "p2p", "native");
  constexpr TunedAlgorithm kAlgorithms[] = {TunedAlgorithm::kRingBulk,        TunedAlgorithm::kTwoShotSentinel,
                                            TunedAlgorithm::kOneShotTagged,   TunedAlgorithm::kRingTagged,
                                            TunedAlgorithm::kOneShotSentinel, TunedAlgorithm::kBuiltIn};
  std::size_t next = 0;
  for (const char* backend : {"p2p", "native"}) {
    for (const Collective op : {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter,
                                Collective::kBroadcast, Collective::kGather, Collective::kSend}) {
      for (const std::int64_t bytes : {256, 1024, 4096, 16384, 65536, 1 << 20}) {
        machine.tuning.calls.push_back({.backend = backend,
                                        .op = op,
                                        .up_to_bytes = bytes,
                                        .algorithm = kAlgorithms[next % 6],
                                        .blocks = 1 + static_cast<int>(next % 4)});
        ++next;
      }
      ++next;
    }
  }
  return std::make_shared<MachineSnapshot>(machine);
}

/// Ranks with inboxes of one size.
class InboxRig final : public Rig {
 public:
  InboxRig(std::unique_ptr<Rig> rig, std::function<std::int64_t(int world_size)> inbox_bytes)
      : rig_(std::move(rig)), inbox_bytes_(std::move(inbox_bytes)) {}
  std::vector<Outcome> run(const GroupOptions& wanted, const Body& body,
                           const std::function<void(const Group&)>& meanwhile) override {
    GroupOptions options = wanted;
    options.inbox_bytes = inbox_bytes_(options.world_size);
    return rig_->run(options, body, meanwhile);
  }

 private:
  std::unique_ptr<Rig> rig_;
  std::function<std::int64_t(int world_size)> inbox_bytes_;
};

// Rarer settings: at some world sizes.
std::vector<Case> at_some_sizes(std::vector<Case> cases) {
  std::erase_if(cases, [](const Case& test) { return test.world_size < 2 || test.world_size > 5; });
  return cases;
}

std::vector<Case> least_inbox_cases(const std::string& backend) {
  std::vector<Case> cases = at_some_sizes(gpu_cases(backend));
  for (Case& test : cases) {
    test.make_rig = [make = test.make_rig] { return std::make_unique<InboxRig>(make(), least_inbox_bytes); };
  }
  return cases;
}

TEST(PushInbox, LargerThanItsDeviceIsRefused) {
  if (cuda::num_devices() == 0) GTEST_SKIP() << "no GPU";
  const std::size_t free = cuda::free_bytes(0);
  for (const char* backend : {"p2p", "native"}) {
    const Group group({.world_size = 2,
                       .devices = {{DeviceKind::kCuda, 0}, {DeviceKind::kCuda, 0}},
                       .shared_devices = true,
                       .inbox_bytes = std::int64_t{1} << 50});
    try {
      make_communicator(backend, group, 0);
      FAIL() << backend;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory) << error.what();
      EXPECT_NE(std::string(error.what()).find("2 inboxes of "), std::string::npos) << error.what();
    }
    EXPECT_GE(cuda::free_bytes(0), free / 2) << "nothing was taken";
  }
}

INSTANTIATE_TEST_SUITE_P(P2p, CommunicatorContract, testing::ValuesIn(gpu_cases("p2p")), contract_case_name);
INSTANTIATE_TEST_SUITE_P(Native, CommunicatorContract, testing::ValuesIn(gpu_cases("native")), contract_case_name);
INSTANTIATE_TEST_SUITE_P(P2pLeastInbox, CommunicatorContract, testing::ValuesIn(least_inbox_cases("p2p")),
                         contract_case_name);
INSTANTIATE_TEST_SUITE_P(NativeLeastInbox, CommunicatorContract, testing::ValuesIn(least_inbox_cases("native")),
                         contract_case_name);
INSTANTIATE_TEST_SUITE_P(P2pTuned, CommunicatorContract,
                         testing::ValuesIn(at_some_sizes(gpu_cases("p2p", tuned_machine))), contract_case_name);
INSTANTIATE_TEST_SUITE_P(NativeTuned, CommunicatorContract,
                         testing::ValuesIn(at_some_sizes(gpu_cases("native", tuned_machine))), contract_case_name);
INSTANTIATE_TEST_SUITE_P(Auto, CommunicatorContract,
                         testing::ValuesIn(gpu_cases("auto",
                                                     [](const std::vector<Device>& devices) {
                                                       return mixed_machine(devices, "p2p", "native");
                                                     })),
                         contract_case_name);

}  // namespace
}  // namespace tandem::contract
