// The contract suite on "p2p" and "native". Ranks beyond the GPUs that are there share them, which no user may.
#include "comm/communicator_contract.h"

namespace tandem::contract {
namespace {

std::vector<Case> gpu_cases(const std::string& backend) {
  return contract_cases(backend, true, [backend] {
    return std::make_unique<ThreadRig>(
        backend, [](int rank) { return Stream::cuda(rank % cuda::num_devices()); },
        [](int world_size) {
          std::vector<Device> devices;
          for (int r = 0; r < world_size; ++r) devices.push_back({DeviceKind::kCuda, r % cuda::num_devices()});
          return devices;
        });
  });
}

INSTANTIATE_TEST_SUITE_P(P2p, CommunicatorContract, testing::ValuesIn(gpu_cases("p2p")), contract_case_name);
INSTANTIATE_TEST_SUITE_P(Native, CommunicatorContract, testing::ValuesIn(gpu_cases("native")), contract_case_name);

}  // namespace
}  // namespace tandem::contract
