#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>

#include "base/error.h"
#include "diagnose/machine/fake_root.h"
#include "diagnose/machine/gather_facts.h"

namespace tandem {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

MachineFacts facts_of(const char* machine, const std::string& library = FAKE_NVML_LIBRARY) {
  setenv("FAKE_NVML", machine, 1);
  const FakeRoot root;
  return gather_machine_facts({.root = root.path(), .nvml_file = library});
}

auto unread(const std::string& source, const std::string& reason) {
  return Contains(AllOf(Field(&Unread::source, source), Field(&Unread::reason, HasSubstr(reason))));
}

TEST(GpuFactsOfNvml, FillEveryField) {
  const MachineFacts facts = facts_of("bridges");
  EXPECT_EQ(facts.driver.version, "999.1");
  EXPECT_EQ(facts.driver.cuda_version, "13.1");
  EXPECT_EQ(facts.driver.no_nvml, "");
  ASSERT_EQ(facts.gpus.size(), 4u);
  const NvLink good{.active = true, .version = 4, .remote = "0000:20:00.0", .errors = 0};
  NvLink bad = good;
  bad.errors = 1 + 2 + 4 + 8;
  EXPECT_EQ(
      facts.gpus[0],
      (GpuHealth{.pci_address = "0000:10:00.0",
                 .name = "Fake GPU 0",
                 .uuid = "GPU-00000000-0000-0000-0000-000000000000",
                 .compute_capability = "9.0",
                 .memory_bytes = std::uint64_t{64} << 30,
                 .used_memory_bytes = std::uint64_t{4} << 30,
                 .bar1_bytes = 256u << 20,
                 .used_bar1_bytes = 1u << 20,
                 .mig = false,
                 .display_active = true,
                 .persistence = true,
                 .compute_mode = "default",
                 .virtualization = "none",
                 .addressing_mode = "hmm",
                 .watts = 100.5,
                 .limit_watts = 350,
                 .max_limit_watts = 700,
                 .celsius = 40,
                 .slowdown_celsius = 87,
                 .sm_mhz = 345,
                 .max_sm_mhz = 1980,
                 .pcie_generation = 1,
                 .max_pcie_generation = 5,
                 .pcie_width = 8,
                 .max_pcie_width = 16,
                 .pcie_replays = 0,
                 .ecc = true,
                 .uncorrected_ecc_errors = 0,
                 .pending_row_remap = false,
                 .nvlinks = {good, good, bad, good},
                 .processes = {{.pid = static_cast<std::uint32_t>(getpid()), .ours = true, .memory_bytes = 5u << 20},
                               {.pid = 4'000'000'000, .memory_bytes = 7u << 20}}}));
}

TEST(GpuFactsOfNvml, DifferFromGpuToGpu) {
  const std::vector<GpuHealth> gpus = facts_of("pcie").gpus;
  ASSERT_EQ(gpus.size(), 4u);
  EXPECT_THAT(gpus[1].throttle_reasons, ElementsAre("sw-power-cap", "hw-thermal-slowdown"));
  EXPECT_THAT(gpus[2].throttle_reasons,
              ElementsAre("applications-clocks", "sw-power-cap", "hw-slowdown", "sync-boost", "sw-thermal-slowdown",
                          "hw-thermal-slowdown", "hw-power-brake-slowdown", "display-clocks"));
  EXPECT_EQ(gpus[3].compute_mode, "exclusive-process");
  EXPECT_EQ(gpus[2].compute_mode, "prohibited");
  EXPECT_EQ(gpus[1].virtualization, "passthrough");
  EXPECT_EQ(gpus[3].pending_row_remap, true);
  EXPECT_EQ(gpus[3].uncorrected_ecc_errors, 3u);
  EXPECT_EQ(gpus[3].pci_address, "0000:40:00.0");
  EXPECT_THAT(gpus, Each(Field(&GpuHealth::nvlinks, IsEmpty())));
  EXPECT_EQ(gpus[0].index, std::nullopt);  // CUDA was not asked
}

TEST(GpuFactsOfNvml, TellOfSwitchesAndSlices) {
  const std::vector<GpuHealth> gpus = facts_of("switch").gpus;
  ASSERT_THAT(gpus, SizeIs(4));
  EXPECT_THAT(gpus, Each(Field(&GpuHealth::nvlinks, SizeIs(18))));
  EXPECT_FALSE(gpus[0].nvlinks[7].active);
  EXPECT_EQ(gpus[0].nvlinks[0].remote, "0000:c0:00.0");
  EXPECT_EQ(gpus[0].fabric_state, "in-progress");
  EXPECT_EQ(facts_of("hidden").gpus[0].nvlinks[0].remote, "");
  EXPECT_EQ(facts_of("mig").gpus[0].mig, true);
  EXPECT_EQ(facts_of("mig").gpus[1].mig, false);
}

TEST(GpuFactsOfNvml, NameWhatGotNoAnswer) {
  const MachineFacts facts = facts_of("pcie");
  EXPECT_THAT(facts.unread, unread("nvmlDeviceGetComputeRunningProcesses_v3 of 0000:40:00.0", "Insufficient Size"));
}

TEST(GpuFactsOfNvml, OfOldDriversLackSome) {
  const MachineFacts facts = facts_of("switch", FAKE_NVML_OLD_LIBRARY);
  ASSERT_EQ(facts.gpus.size(), 4u);
  EXPECT_EQ(facts.gpus[1].celsius, 41);
  EXPECT_EQ(facts.gpus[1].pending_row_remap, std::nullopt);
  EXPECT_EQ(facts.gpus[1].addressing_mode + facts.gpus[1].fabric_state, "");
  EXPECT_THAT(facts.unread, unread("nvmlDeviceGetRemappedRows of 0000:20:00.0", "does not have it"));
  EXPECT_THAT(facts.unread, unread("nvmlDeviceGetGpuFabricInfo of 0000:20:00.0", "does not have it"));
}

TEST(GpuFactsOfNvml, EndWhereAGpuIsLost) {
  const MachineFacts facts = facts_of("lost");
  EXPECT_THAT(facts.gpus, ElementsAre(Field(&GpuHealth::name, "Fake GPU 0"), Field(&GpuHealth::name, "Fake GPU 2"),
                                      Field(&GpuHealth::name, "Fake GPU 3")));
  EXPECT_THAT(facts.unread, unread("nvmlDeviceGetHandleByIndex_v2 of NVML's GPU 1", "GPU is lost"));
  EXPECT_THAT(facts.unread, unread("nvmlDeviceGetUUID of 0000:30:00.0", "GPU is lost"));
  EXPECT_THAT(facts.unread, Not(unread("nvmlDeviceGetPowerUsage of 0000:30:00.0", "")));
  EXPECT_EQ(facts.gpus[1].celsius, std::nullopt);
}

TEST(GpuFactsOfNvml, AreAbsentWithoutIt) {
  const FakeRoot root;
  root.fill();
  MachineFacts facts = gather_machine_facts({.root = root.path(), .nvml_file = "/nonexistent/libnvidia-ml.so.1"});
  EXPECT_THAT(facts.driver.no_nvml, HasSubstr("cannot load NVML"));
  EXPECT_EQ(facts.driver.version, "580.95.05");
  EXPECT_THAT(facts.gpus, IsEmpty());
  EXPECT_THAT(facts.pci, SizeIs(6));
  EXPECT_THAT(facts_of("broken").driver.no_nvml, HasSubstr("driver not loaded"));
  EXPECT_THAT(gather_machine_facts({.root = root.path()}).driver.no_nvml, HasSubstr("another root"));
}

}  // namespace
}  // namespace tandem
