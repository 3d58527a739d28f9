// The contract suite on "p2p", "native" and a plan that mixes both. Ranks beyond the GPUs that are there share them,
// which no user may.
#include "comm/communicator_contract.h"
#include "comm/gpu/test_machines.h"

namespace tandem::contract {
namespace {

std::vector<Case> gpu_cases(const std::string& backend, const ThreadRig::Machine& machine = {}) {
  return contract_cases(backend, true, [backend, machine] {
    return std::make_unique<ThreadRig>(
        backend, [](int rank) { return Stream::cuda(rank % cuda::num_devices()); }, devices_of_ranks, machine);
  });
}

INSTANTIATE_TEST_SUITE_P(P2p, CommunicatorContract, testing::ValuesIn(gpu_cases("p2p")), contract_case_name);
INSTANTIATE_TEST_SUITE_P(Native, CommunicatorContract, testing::ValuesIn(gpu_cases("native")), contract_case_name);
INSTANTIATE_TEST_SUITE_P(Auto, CommunicatorContract,
                         testing::ValuesIn(gpu_cases("auto",
                                                     [](const std::vector<Device>& devices) {
                                                       return mixed_machine(devices, "p2p", "native");
                                                     })),
                         contract_case_name);

}  // namespace
}  // namespace tandem::contract
