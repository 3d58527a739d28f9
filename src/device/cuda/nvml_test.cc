#include "device/cuda/nvml.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "base/error.h"

namespace tandem {
namespace {

using testing::HasSubstr;

const char* const kGpus[] = {"0000:10:00.0", "0000:20:00.0", "0000:30:00.0", "0000:40:00.0"};

Nvml fake(const char* machine) {
  setenv("FAKE_NVML", machine, 1);
  return Nvml(FAKE_NVML_LIBRARY);
}

std::string refusal(const std::string& file) {
  try {
    const Nvml nvml(file);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    return error.what();
  }
  return "it was not refused";
}

TEST(Nvml, CountsLinksThroughSwitchesForEveryPair) {
  for (const char* machine : {"switch", "hidden"}) {
    const Nvml nvml = fake(machine);
    for (const char* from : kGpus) {
      for (const char* to : kGpus) {
        if (from == to) continue;
        EXPECT_EQ(nvml.link(from, to), "NV17") << machine;  // one of 18 is down
        EXPECT_EQ(nvml.p2p_status(from, to), "OK");
      }
    }
  }
}

TEST(Nvml, CountsDirectLinksForTheirPairOnly) {
  const Nvml nvml = fake("bridges");
  EXPECT_EQ(nvml.link(kGpus[0], kGpus[1]), "NV4");
  EXPECT_EQ(nvml.link(kGpus[3], kGpus[2]), "NV4");
  EXPECT_EQ(nvml.link(kGpus[1], kGpus[2]), "SYS");
  EXPECT_EQ(nvml.p2p_status(kGpus[1], kGpus[2]), "CNS");
}

TEST(Nvml, NamesPathsOverPcie) {
  const Nvml nvml = fake("pcie");
  EXPECT_EQ(nvml.link(kGpus[0], kGpus[1]), "PIX");
  EXPECT_EQ(nvml.link(kGpus[0], kGpus[3]), "SYS");
}

TEST(Nvml, TellsWhichGpuIsCutIntoSlices) {
  const Nvml nvml = fake("mig");
  EXPECT_TRUE(nvml.is_mig(kGpus[0]));
  EXPECT_FALSE(nvml.is_mig(kGpus[1]));
  EXPECT_FALSE(fake("pcie").is_mig(kGpus[0]));
  EXPECT_EQ(nvml.driver_version(), "999.1");
}

TEST(Nvml, KnowsNothingOfOtherGpus) {
  const Nvml nvml = fake("switch");
  for (const char* other : {"0000:50:00.0", "0001:10:00.0", "", "GPU-0"}) {
    EXPECT_EQ(nvml.link(kGpus[0], other), "") << other;
    EXPECT_EQ(nvml.p2p_status(other, kGpus[0]), "") << other;
    EXPECT_FALSE(nvml.is_mig(other)) << other;
  }
}

TEST(Nvml, CallsByName) {
  const Nvml nvml = fake("pcie");
  unsigned count = 0;
  EXPECT_EQ(nvml.call("nvmlDeviceGetCount_v2", &count), NvmlResult::kSuccess);
  EXPECT_EQ(count, 4u);
  EXPECT_EQ(nvml.call("nvmlDeviceGetCount_v9", &count), NvmlResult::kFunctionNotFound);
  EXPECT_THAT(nvml.explain(NvmlResult::kFunctionNotFound), HasSubstr("does not have it"));
  EXPECT_EQ(nvml.explain(NvmlResult::kGpuIsLost), "GPU is lost");
}

TEST(Nvml, SaysWhyThereIsNone) {
  EXPECT_THAT(refusal("/nonexistent/libnvidia-ml.so.1"), HasSubstr("cannot load NVML: /nonexistent/libnvidia-ml"));
  EXPECT_THAT(refusal("libc.so.6"), HasSubstr("has no nvmlInit_v2"));
  setenv("FAKE_NVML", "broken", 1);
  EXPECT_THAT(refusal(FAKE_NVML_LIBRARY), HasSubstr("NVML does not start: driver not loaded"));
}

}  // namespace
}  // namespace tandem
