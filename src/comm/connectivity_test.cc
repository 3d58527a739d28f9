#include "comm/connectivity.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "comm/communicator.h"
#include "device/cuda/runtime.h"

namespace tandem {
namespace {

using testing::HasSubstr;

int num_gpus() {
  if constexpr (kBuiltWithCuda) return cuda::num_devices();
  return 0;
}

ErrorKind refusal(const std::vector<Device>& devices) {
  try {
    check_p2p_connectivity(devices);
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::kInternal;
}

Device gpu(int index) {
  return {DeviceKind::kCuda, index};
}
Device cpu(int index) {
  return {DeviceKind::kCpu, index};
}

TEST(Connectivity, NobodyAndOneAreConnected) {
  EXPECT_TRUE(check_p2p_connectivity(std::vector<int>{}));
  EXPECT_TRUE(check_p2p_connectivity(std::vector<Device>{cpu(0)}));
  if (num_gpus() > 0) {
    EXPECT_TRUE(check_p2p_connectivity(std::vector{0}));
  }
}

TEST(Connectivity, DevicesMustBeThereAndOnceOnly) {
  EXPECT_EQ(refusal({gpu(0), gpu(0)}), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal({gpu(3), gpu(1), gpu(3)}), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal({gpu(-1)}), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal(std::vector<Device>(17)), ErrorKind::kInvalidArgument);
  const ErrorKind not_there = num_gpus() > 0 ? ErrorKind::kNotFound : ErrorKind::kUnsupported;
  EXPECT_EQ(refusal({gpu(99)}), not_there);
  EXPECT_EQ(refusal({gpu(0), gpu(99)}), not_there);
}

TEST(Connectivity, CpusAreNoPeers) {
  const P2pConnectivity result = check_p2p_connectivity(std::vector<Device>{cpu(0), cpu(1)});
  EXPECT_FALSE(result);
  EXPECT_EQ(result.why_not->reason, Reason::kNoGpu);
}

TEST(Connectivity, EveryPairOfTwoGpusIsTold) {
  if (num_gpus() < 2) GTEST_SKIP() << num_gpus() << " GPUs";
  const P2pConnectivity result = check_p2p_connectivity(std::vector{1, 0});
  ASSERT_EQ(result.machine.pairs.size(), 2u);
  EXPECT_EQ(result.machine.gpus[0].index, 1);
  EXPECT_EQ(bool(result), !result.why_not.has_value());
  for (const PairFacts& pair : result.machine.pairs) EXPECT_NE(pair.link, "") << result.machine.no_nvml;
}

TEST(BackendStatus, TellsOfEachBackendWhyItDoesNotWork) {
  const std::vector<BackendStatus> all = get_backend_status(std::vector<Device>(2));
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].name, "p2p");
  EXPECT_EQ(all[0].reason, "no-gpu");
  EXPECT_NE(all[0].detail, "");
  EXPECT_TRUE(all[3].works);
  EXPECT_EQ(all[3].reason, "");
}

TEST(BackendStatus, WithoutAGroupNoneWorks) {
  for (const auto& devices : {std::vector<Device>{}, std::vector<Device>(17), {cpu(0), gpu(0)}, {gpu(98), gpu(99)}}) {
    EXPECT_TRUE(get_available_backends(devices).empty());
    for (const BackendStatus& status : get_backend_status(devices)) {
      EXPECT_FALSE(status.works);
      EXPECT_EQ(status.reason, "no-group");
      EXPECT_THAT(status.detail, testing::AnyOf(HasSubstr("a group has"), HasSubstr("can be used")));
    }
  }
}

}  // namespace
}  // namespace tandem
