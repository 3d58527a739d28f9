// The contract suite on back-end "cpu".
#include "comm/communicator_contract.h"

namespace tandem::contract {
namespace {

INSTANTIATE_TEST_SUITE_P(Cpu, CommunicatorContract,
                         testing::ValuesIn(contract_cases("cpu", true,
                                                          [] {
                                                            return std::make_unique<ThreadRig>(
                                                                "cpu", [](int rank) { return Stream::cpu(1, rank); });
                                                          })),
                         contract_case_name);

// Shares of large calls are split again among the threads of a rank.
INSTANTIATE_TEST_SUITE_P(CpuTwoThreadsARank, CommunicatorContract,
                         testing::ValuesIn(std::vector<Case>{{"cpu", 3, true,
                                                              [] {
                                                                return std::make_unique<ThreadRig>("cpu", [](int rank) {
                                                                  return Stream::cpu(2, rank);
                                                                });
                                                              }}}),
                         contract_case_name);

}  // namespace
}  // namespace tandem::contract
