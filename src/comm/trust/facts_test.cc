#include "comm/trust/facts.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "base/format.h"
#include "comm/trust/record.h"

namespace tandem {
namespace {

using testing::HasSubstr;

// Numbered against the order of PCI addresses, as CUDA_VISIBLE_DEVICES may have it; the fake library knows 10 to 40.
MachineSnapshot three_gpus() {
  MachineSnapshot machine;
  for (const char* address : {"0000:40:00.0", "0000:10:00.0", "0000:30:00.0"}) {
    machine.gpus.push_back({.index = static_cast<int>(machine.gpus.size()), .pci_address = address});
  }
  for (int from = 0; from < 3; ++from) {
    for (int to = 0; to < 3; ++to) {
      if (from != to) machine.pairs.push_back({.from = from, .to = to});
    }
  }
  return machine;
}

TEST(Facts, NvmlIsAskedByAddressWhateverTheNumbers) {
  setenv("FAKE_NVML", "bridges", 1);
  MachineSnapshot machine = three_gpus();
  add_nvml_facts(machine, FAKE_NVML_LIBRARY);
  EXPECT_EQ(machine.driver, "999.1");
  EXPECT_EQ(machine.no_nvml, "");
  for (const PairFacts& pair : machine.pairs) {
    const bool bridged = pair.from != 1 && pair.to != 1;  // 40 and 30
    EXPECT_EQ(pair.link, bridged ? "NV4" : "SYS") << pair.from << pair.to;
    EXPECT_EQ(pair.p2p_status, bridged ? "OK" : "CNS");
  }
}

TEST(Facts, SlicesAreThoseOfTheRightGpu) {
  setenv("FAKE_NVML", "mig", 1);
  MachineSnapshot machine = three_gpus();
  add_nvml_facts(machine, FAKE_NVML_LIBRARY);
  EXPECT_FALSE(machine.gpus[0].is_mig);
  EXPECT_TRUE(machine.gpus[1].is_mig);
}

TEST(Facts, WithoutNvmlTheReasonIsKept) {
  MachineSnapshot machine = three_gpus();
  add_nvml_facts(machine, "/nonexistent/nvml.so");
  EXPECT_THAT(machine.no_nvml, HasSubstr("/nonexistent/nvml.so"));
  EXPECT_EQ(machine.driver, "");
  EXPECT_EQ(machine.pairs[0].link, "");
}

TEST(Facts, OfCpusThereAreFew) {
  const MachineSnapshot machine = gather_facts(std::vector<Device>(3));
  EXPECT_TRUE(machine.gpus.empty() && machine.pairs.empty());
  ASSERT_EQ(machine.backends.size(), 1u);
  EXPECT_EQ(machine.backends[0].name, "cpu");
  if (!kBuiltWithCuda) {
    EXPECT_EQ(machine.no_gpus, "this build has no CUDA");
  }
}

TEST(Record, MeasuresAfterTheFactsAndCalibratesAfterTheProbe) {
  const std::vector<Device> devices(2);
  std::string order;
  const MachineSnapshot machine = record_snapshot(
      devices, {.probe =
                    [&](std::span<const Device> given, MachineSnapshot& so_far) {
                      order += format("probe {} {};", given.size(), so_far.backends.size());
                      so_far.driver = "seen";
                    },
                .calibrate = [&](std::span<const Device>, MachineSnapshot& so_far) { order += so_far.driver; }});
  EXPECT_EQ(order, "probe 2 1;seen");
  EXPECT_EQ(machine.driver, "seen");
  EXPECT_EQ(record_snapshot(devices, {}), gather_facts(devices));
}

}  // namespace
}  // namespace tandem
