// The contract suite on "p2p", "native" and a plan that mixes both. Ranks beyond the GPUs that are there share them,
// which no user may.
#include "comm/communicator_contract.h"
#include "comm/trust/facts.h"
#include "comm/trust/machine_snapshot.h"

namespace tandem::contract {
namespace {

std::vector<Case> gpu_cases(const std::string& backend, const ThreadRig::Machine& machine = {}) {
  return contract_cases(backend, true, [backend, machine] {
    return std::make_unique<ThreadRig>(
        backend, [](int rank) { return Stream::cuda(rank % cuda::num_devices()); },
        [](int world_size) {
          std::vector<Device> devices;
          for (int r = 0; r < world_size; ++r) devices.push_back({DeviceKind::kCuda, r % cuda::num_devices()});
          return devices;
        },
        machine);
  });
}

// Every link is whole, and the faster back-end changes from size to size.
std::shared_ptr<const MachineSnapshot> mixed_machine(const std::vector<Device>& devices) {
  MachineSnapshot machine = gather_facts(devices);
  for (PairFacts& pair : machine.pairs) pair.probe.outcome = ProbeOutcome::kPassed;
  for (const Collective op : {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter,
                              Collective::kBroadcast, Collective::kGather, Collective::kSend}) {
    bool native_first = op == Collective::kAllGather;
    for (const std::int64_t bytes : {64, 1024, 4096, 65536}) {
      machine.calls.push_back({.backend = "p2p", .op = op, .bytes = bytes, .microseconds = native_first ? 2.0 : 1.0});
      machine.calls.push_back(
          {.backend = "native", .op = op, .bytes = bytes, .microseconds = native_first ? 1.0 : 2.0});
      native_first = !native_first;
    }
  }
  return std::make_shared<MachineSnapshot>(machine);
}

INSTANTIATE_TEST_SUITE_P(P2p, CommunicatorContract, testing::ValuesIn(gpu_cases("p2p")), contract_case_name);
INSTANTIATE_TEST_SUITE_P(Native, CommunicatorContract, testing::ValuesIn(gpu_cases("native")), contract_case_name);
INSTANTIATE_TEST_SUITE_P(Auto, CommunicatorContract, testing::ValuesIn(gpu_cases("auto", mixed_machine)),
                         contract_case_name);

}  // namespace
}  // namespace tandem::contract
