#include <gmock/gmock.h>

#include <set>

#include "base/format.h"
#include "diagnose/machine/facts_json.h"
#include "diagnose/machine/random_facts.h"

namespace tandem {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kHome =
    "/ho"
    "me/";  // in one piece it would be a path of somebody's machine
const std::string kUuid = "GPU-0badcafe-1234-5678-9abc-def012345678";

std::string variable(const std::string& name, const std::string& value) {
  MachineFacts facts;
  facts.host.environment[name] = value;
  return redacted(facts).host.environment.at(name);
}

std::string text(const std::string& value) {
  MachineFacts facts;
  facts.driver.no_nvml = value;
  return redacted(facts).driver.no_nvml;
}

// People, hosts, serial numbers and keys, in whatever field has text.
TEST(Redacted, LeavesNoMarker) {
  const std::vector<std::string> markers = {"alice",    "Smith",        "gpubox17",    "1650522003820", "sk-abc",
                                            "0badcafe", "def012345678", "192.168.7.9", "fe80"};
  const std::string planted = format(
      "{0}alice/lib.so: no; '{0}Alice Smith/x'; ~alice/y; file={0}alice; alice@gpubox17; serial 1650522003820; "
      "Serial Number: 1650522003820; api_key=sk-abc; {1}; MIG-{2}; 192.168.7.9:80; fe80::1; fe80:1:2:3:4:5:6:7; "
      "ssh://gpubox17/x",
      kHome, kUuid, kUuid.substr(4));
  MachineFacts facts = random_facts(1, true);
  facts.host.os = facts.host.kernel_options[0] = facts.driver.nccl = facts.driver.no_cuda = facts.driver.no_nvml =
      planted;
  facts.driver.parameters["TemporaryFilePath"] = planted;
  facts.pci[0].driver = facts.gpus[0].name = facts.gpus[0].uuid = facts.gpus[1].processes.empty() ? "" : planted;
  facts.unread[0] = {.source = planted, .reason = planted};
  facts.composed = planted;
  facts.host.kernel = "6.1.0-gpubox17-alice";
  facts.host.device_nodes[0].group = "alice";
  facts.host.environment = {{"NCCL_COMM_ID", "gpubox17:1234"},
                            {"TANDEM_API_KEY", "1234"},
                            {"TANDEM_MASTER_ADDR", "gpubox17"},
                            {"CUDA_CACHE_PATH", kHome + "alice"},
                            {"NCCL_TOPO_FILE", "alice.xml"},
                            {"CUDA_VISIBLE_DEVICES", kUuid},
                            {"NVIDIA_VISIBLE_DEVICES", "MIG-" + kUuid + "/1/2"},
                            {"NCCL_X", "192.168.7.9"},
                            {"EXLLAMA_N", "1650522003820"},
                            {"NCCL_P2P_DISABLE", "1"}};
  facts.fabric.no_gpus = facts.fabric.no_nvml = facts.fabric.profile = facts.fabric.backends[0].detail = planted;
  facts.fabric.gpus[0].uuid = kUuid;
  facts.fabric.gpus.push_back({.index = 2, .uuid = "1650522003820"});
  facts.fabric.pairs = {{.from = 0, .to = 1, .probe = {.detail = planted}}, {.from = 1, .to = 0}};
  const std::string json = machine_facts_json(redacted(facts));
  for (const std::string& marker : markers) EXPECT_THAT(json, Not(HasSubstr(marker)));
  EXPECT_THAT(json, Not(HasSubstr("Alice")));
  EXPECT_EQ(parse_machine_facts(json, "x"), redacted(facts));
  EXPECT_EQ(redacted(redacted(facts)), redacted(facts));
}

TEST(Redacted, GivesTheSameUuidTheSameHash) {
  MachineFacts facts;
  facts.gpus = {{.uuid = kUuid}, {.uuid = "GPU-11111111-1234-5678-9abc-def012345678"}};
  facts.fabric.gpus = {{.uuid = kUuid}};
  facts.host.environment["CUDA_VISIBLE_DEVICES"] = kUuid + ",1";
  const MachineFacts clean = redacted(facts);
  EXPECT_THAT(clean.gpus[0].uuid, testing::MatchesRegex("GPU-h[0-9a-f]{8}"));
  EXPECT_EQ(clean.gpus[0].uuid, clean.fabric.gpus[0].uuid);
  EXPECT_NE(clean.gpus[0].uuid, clean.gpus[1].uuid);
  EXPECT_EQ(clean.host.environment.at("CUDA_VISIBLE_DEVICES"), clean.gpus[0].uuid + ",1");
}

TEST(Redacted, KeepsWhatADiagnosisNeeds) {
  for (const char* value : {"0,1,2", "1", "-1", "16M", "0.5", "PHB", "INFO", "INIT,P2P", "compute,utility",
                            "PCI_BUS_ID", "", "all", "(set)"}) {
    EXPECT_EQ(variable("NCCL_ANYTHING", value), value);
  }
  EXPECT_EQ(variable("NCCL_SOCKET_IFNAME", "eth-gpubox"), "(set)");
  EXPECT_EQ(variable("NCCL_BIG", std::string(100'000, '1')), "(set)");
  for (const char* kept : {"cannot load NVML: libnvidia-ml.so.1: cannot open shared object file", "/dev/nvidia0",
                           "nvmlDeviceGetPowerUsage of 0000:17:00.0", "/sys/bus/pci/devices/0000:17:00.0/config",
                           "/proc/driver/nvidia/params: Permission denied", "16 GT/s, 25 bytes/s and 580.159.04",
                           "NCCL of /usr/lib/x86_64-linux-gnu/libnccl.so.2 is 2.28.9", "sums / bytes"}) {
    EXPECT_EQ(text(kept), kept);
  }
  EXPECT_EQ(text("cannot open " + kHome + "al ice/x.so: No such file"), "cannot open (path): No such file");
  EXPECT_EQ(text("/dev/../" + kHome.substr(1) + "x"), "(path)");
  MachineFacts facts;
  facts.host.kernel = "5.15.153.1";
  facts.host.device_nodes = {{.path = "/dev/nvidia0", .group = "video"}, {.path = "/dev/nvidiactl", .group = "1000"}};
  facts.pci = {{.address = "0000:17:00.0", .vendor = "0x10de", .driver = "nvidia", .parent = "0000:16:00.0"}};
  facts.xids = {{.pci_address = "0000:17:00.0", .code = 79}};
  EXPECT_EQ(redacted(facts), facts);
}

TEST(Redacted, SurvivesLongTexts) {
  for (const std::string part : {"/", "a@", "GPU-0", "1.", "::", "serial ", "key=", "~/x ", "0123456789abcdef-"}) {
    std::string value;
    while (value.size() < 70'000) value += part;
    const std::string once = text(value);
    EXPECT_EQ(text(once), once) << part;
  }
}

}  // namespace
}  // namespace tandem
