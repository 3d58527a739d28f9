#include "diagnose/machine/gather_facts.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "diagnose/machine/fake_root.h"

namespace tandem {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

MachineFacts facts_of(const FakeRoot& root, std::vector<const char*> environment = {}) {
  environment.push_back(nullptr);
  return gather_machine_facts({.root = root.path(), .environment = environment.data()});
}

HostFacts host_of(const FakeRoot& root) {
  return facts_of(root).host;
}

const PciDevice& pci_at(const MachineFacts& facts, std::string_view address) {
  const auto found =
      std::find_if(facts.pci.begin(), facts.pci.end(), [&](const auto& d) { return d.address == address; });
  TANDEM_CHECK(found != facts.pci.end(), "no {}", address);
  return *found;
}

std::string reason_for(const MachineFacts& facts, std::string_view source) {
  for (const Unread& unread : facts.unread) {
    if (unread.source == source) return unread.reason;
  }
  return "";
}

struct GatherFacts : testing::Test {
  GatherFacts() { root.fill(); }
  FakeRoot root;
};

TEST_F(GatherFacts, TellsOfTheHost) {
  const HostFacts host = host_of(root);
  EXPECT_EQ(host.os, "Debian GNU/Linux 12 (bookworm)");
  EXPECT_EQ(host.kernel, "6.1.0");
  EXPECT_EQ(host.hypervisor, "kvm");
  EXPECT_FALSE(host.wsl);
  EXPECT_EQ(host.container, "docker");
  EXPECT_EQ(host.cpus, 4);
  EXPECT_EQ(host.sockets, 2);
  EXPECT_EQ(host.numa_nodes, 2);
  EXPECT_EQ(host.load_average, 1.25);
  EXPECT_EQ(host.memlock_bytes, 65536u);
  EXPECT_EQ(host.shm_bytes, 64u << 20);
  EXPECT_EQ(host.free_shm_bytes, std::nullopt);
  EXPECT_THAT(host.kernel_options, ElementsAre("intel_iommu=on", "iommu=pt", "modprobe.blacklist=nouveau"));
  EXPECT_EQ(host.iommu_active, true);
  EXPECT_THAT(host.kernel_modules, ElementsAre("nvidia", "nvidia_uvm", "vfio_pci"));
}

TEST_F(GatherFacts, CountsTheSmallestMemoryLimit) {
  EXPECT_EQ(host_of(root).memory_bytes, 8192000000u);
  EXPECT_EQ(host_of(root).available_memory_bytes, 8192000000u - 1500000000u);
  root.write("/sys/fs/cgroup/job/memory.max", "1000\n");  // the group's own, and more than that is in use
  root.write("/sys/fs/cgroup/job/memory.current", "5000\n");
  EXPECT_EQ(host_of(root).memory_bytes, 1000u);
  EXPECT_EQ(host_of(root).available_memory_bytes, 0u);
  root.write("/proc/self/cgroup", "4:cpu,memory:/old\n");
  root.write("/sys/fs/cgroup/memory/old/memory.limit_in_bytes", "9223372036854771712\n");  // version 1: no limit
  EXPECT_EQ(host_of(root).memory_bytes, std::uint64_t{32000000} << 10);
  EXPECT_EQ(host_of(root).available_memory_bytes, std::uint64_t{16000000} << 10);
  root.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4000\n");
  EXPECT_EQ(host_of(root).memory_bytes, 4000u);
}

TEST_F(GatherFacts, TellsHypervisorsApart) {
  const auto with = [&](const char* vendor, const char* product) {
    root.write("/sys/class/dmi/id/sys_vendor", vendor);
    root.write("/sys/class/dmi/id/product_name", product);
    return host_of(root).hypervisor;
  };
  EXPECT_EQ(with("VMware, Inc.\n", "VMware7,1\n"), "vmware");
  EXPECT_EQ(with("Microsoft Corporation\n", "Virtual Machine\n"), "hyper-v");
  EXPECT_EQ(with("Google\n", "Google Compute Engine\n"), "kvm");
  EXPECT_EQ(with("Acme\n", "Cloud\n"), "other");
  root.write("/proc/cpuinfo", "processor : 0\nflags : fpu\n");
  EXPECT_EQ(with("Amazon EC2\n", "p5.metal\n"), "");
  root.write("/proc/cpuinfo", "processor : 0\nFeatures : fp asimd\n");  // ARM
  EXPECT_EQ(with("Supermicro\n", "Grace\n"), "");
  EXPECT_EQ(with("QEMU\n", "KVM Virtual Machine\n"), "kvm");
  root.write("/sys/hypervisor/type", "xen\n");
  EXPECT_EQ(with("Dell\n", "R750\n"), "xen");
  root.write("/proc/sys/kernel/osrelease", "5.15.153.1-Microsoft-standard-WSL2\n");
  EXPECT_EQ(with("", ""), "hyper-v");
  EXPECT_TRUE(host_of(root).wsl);
}

TEST_F(GatherFacts, TellsContainersApart) {
  root.remove("/.dockerenv");
  EXPECT_EQ(host_of(root).container, "docker");  // by its root
  root.write("/proc/self/mountinfo", "600 500 0:50 / / rw - overlay overlay rw\n");
  EXPECT_EQ(host_of(root).container, "other");
  root.write("/run/.containerenv", "");
  EXPECT_EQ(host_of(root).container, "podman");
  EXPECT_EQ(facts_of(root, {"KUBERNETES_SERVICE_HOST=10.0.0.1"}).host.container, "kubernetes");
  root.write("/proc/1/cgroup", "5:memory:/kubepods/burstable/pod1\n");
  EXPECT_EQ(host_of(root).container, "kubernetes");
  root.remove("/run/.containerenv");
  root.write("/proc/1/cgroup", "5:memory:/lxc/box\n");
  EXPECT_EQ(host_of(root).container, "lxc");
  // A machine that runs containers is none.
  root.write("/proc/1/cgroup", "0::/init.scope\n");
  root.write("/proc/self/mountinfo",
             "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /var/lib/docker/overlay2/x rw - overlay overlay rw\n");
  EXPECT_EQ(host_of(root).container, "");
}

TEST_F(GatherFacts, KeepsTheEnvironmentThatMatters) {
  const MachineFacts facts =
      facts_of(root, {"NCCL_P2P_DISABLE=1", "CUDA_VISIBLE_DEVICES=", "LD_LIBRARY_PATH=/opt/me", "HOME=/x", "NCCL_odd"});
  EXPECT_EQ(facts.host.environment,
            (std::map<std::string, std::string>{
                {"NCCL_P2P_DISABLE", "1"}, {"CUDA_VISIBLE_DEVICES", ""}, {"LD_LIBRARY_PATH", "(set)"}}));
}

TEST_F(GatherFacts, ListsDeviceNodesThatShouldBeThere) {
  chmod((root.path() / "dev/nvidia0").c_str(), 0640);
  const std::vector<DeviceNode> nodes = host_of(root).device_nodes;
  std::vector<std::string> paths;
  for (const DeviceNode& node : nodes) paths.push_back(node.path);
  EXPECT_THAT(paths, ElementsAre("/dev/nvidia-caps/nvidia-cap1", "/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia1",
                                 "/dev/nvidiactl"));
  EXPECT_EQ(nodes[2].mode, "0640");
  EXPECT_TRUE(nodes[2].exists && nodes[2].usable);
  EXPECT_NE(nodes[2].group, "");
  EXPECT_EQ(nodes[3], (DeviceNode{.path = "/dev/nvidia1"}));  // the driver has it, /dev has not
}

TEST_F(GatherFacts, ReadsWhatTheDriverSays) {
  DriverFacts driver = facts_of(root).driver;
  EXPECT_EQ(driver.version, "580.95.05");
  EXPECT_EQ(driver.flavour, "open");
  EXPECT_EQ(driver.parameters,
            (std::map<std::string, std::string>{{"EnableMSI", "1"}, {"RegistryDwords", "ForceP2P=0x11"}}));
  EXPECT_THAT(driver.no_cuda, HasSubstr("another root"));
  root.write("/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\n");
  driver = facts_of(root).driver;
  EXPECT_EQ(driver.version, "535.183.01");
  EXPECT_EQ(driver.flavour, "proprietary");
  root.remove("/proc/driver");
  driver = facts_of(root).driver;
  EXPECT_EQ(driver.version + driver.flavour, "");
}

TEST_F(GatherFacts, DrawsTheTreeAboveTheGpus) {
  const MachineFacts facts = facts_of(root);
  std::string tree;
  for (const PciDevice& device : facts.pci) tree += format("{} {} < {}\n", device.address, device.kind, device.parent);
  EXPECT_EQ(tree,
            "0000:00:01.0 root-port < \n"
            "0000:01:00.0 switch-up < 0000:00:01.0\n"
            "0000:02:00.0 switch-down < 0000:01:00.0\n"
            "0000:02:01.0 switch-down < 0000:01:00.0\n"
            "0000:10:00.0 gpu < 0000:02:00.0\n"
            "0000:20:00.0 gpu < 0000:02:01.0\n");
  const PciDevice gpu = pci_at(facts, "0000:20:00.0");
  EXPECT_EQ(gpu, (PciDevice{.address = "0000:20:00.0",
                            .vendor = "0x10de",
                            .device = "0x2330",
                            .kind = "gpu",
                            .driver = "nvidia",
                            .parent = "0000:02:01.0",
                            .link_gts = 16,
                            .max_link_gts = 32,
                            .link_width = 8,
                            .max_link_width = 16,
                            .numa_node = 0,
                            .iommu_group = 17,
                            .iommu_group_type = "DMA-FQ",
                            .bar1_bytes = std::uint64_t{256} << 30}));
}

TEST_F(GatherFacts, SeesWhichBridgesRedirectPeers) {
  const MachineFacts facts = facts_of(root);
  EXPECT_EQ(pci_at(facts, "0000:00:01.0").acs_redirects, false);  // may, and does not
  EXPECT_EQ(pci_at(facts, "0000:01:00.0").acs_redirects, false);  // cannot
  EXPECT_EQ(pci_at(facts, "0000:02:00.0").acs_redirects, true);
  EXPECT_EQ(pci_at(facts, "0000:02:01.0").acs_redirects, false);  // source validation alone
  for (const int bit : {2, 3, 4}) {
    root.write(FakeRoot::pci_folder("0000:02:01.0") + "/config", pci_configuration(6, 1 << bit));
    EXPECT_EQ(pci_at(facts_of(root), "0000:02:01.0").acs_redirects, true) << bit;
  }
}

TEST_F(GatherFacts, GuessesKindsWhereTheConfigurationIsForRootAlone) {
  for (const char* bridge : {"0000:00:01.0", "0000:01:00.0", "0000:02:00.0", "0000:02:01.0"}) {
    root.write(FakeRoot::pci_folder(bridge) + "/config", pci_configuration(4, 0x1d, 64));
  }
  const MachineFacts facts = facts_of(root);
  EXPECT_EQ(pci_at(facts, "0000:00:01.0").kind, "root-port");
  EXPECT_EQ(pci_at(facts, "0000:01:00.0").kind, "switch-up");
  EXPECT_EQ(pci_at(facts, "0000:02:01.0").kind, "switch-down");
  EXPECT_EQ(pci_at(facts, "0000:02:01.0").acs_redirects, std::nullopt);
  EXPECT_THAT(reason_for(facts, FakeRoot::pci_folder("0000:02:01.0") + "/config"), HasSubstr("only 64 bytes"));
}

TEST_F(GatherFacts, SurvivesOddPciDevices) {
  const std::string folder = FakeRoot::pci_folder("0000:10:00.0");
  root.write(folder + "/config", std::string(4096, '\xff'));
  root.write(folder + "/current_link_speed", "Unknown\n");
  root.write(folder + "/current_link_width", "255\n");
  root.write(folder + "/resource", "0x0 nonsense\n0xffffffffffffffff 0x0 0x0\n0x0 0xffffffffffffffff 0x0\n");
  root.remove(folder + "/driver");
  root.remove(folder + "/iommu_group");
  root.write("/sys/bus/pci/devices/no-address/vendor", "0x10de\n");
  root.link("/sys/bus/pci/devices/0000:77:00.0", "/sys/bus/pci/devices/0000:77:00.0");  // to itself
  std::string loop = pci_configuration(6, -1);
  loop[0x49] = 0x48;  // capabilities that lead round in circles
  loop[0x48] = 0x05;
  loop[0x102] = '\x01', loop[0x103] = '\x10';
  root.write(FakeRoot::pci_folder("0000:02:00.0") + "/config", loop);
  const MachineFacts facts = facts_of(root);
  const PciDevice& gpu = pci_at(facts, "0000:10:00.0");
  EXPECT_FALSE(gpu.answers);
  EXPECT_EQ(gpu.link_gts, std::nullopt);
  EXPECT_EQ(gpu.link_width, std::nullopt);
  EXPECT_EQ(gpu.bar1_bytes, std::nullopt);
  EXPECT_EQ(gpu.iommu_group, std::nullopt);
  EXPECT_EQ(gpu.driver + gpu.iommu_group_type, "");
  EXPECT_EQ(facts.pci.size(), 6u);
  EXPECT_EQ(pci_at(facts, "0000:02:00.0").acs_redirects, false);
}

TEST_F(GatherFacts, CountsXids) {
  EXPECT_EQ(facts_of(root).xids, (std::vector<XidEvent>{{.pci_address = "0000:10:00.0", .code = 79, .times = 2},
                                                        {.pci_address = "0000:20:00.0", .code = 31, .times = 1}}));
  root.remove("/dev/kmsg");
  MachineFacts facts = facts_of(root);
  EXPECT_EQ(facts.xids, std::nullopt);
  EXPECT_EQ(reason_for(facts, "/dev/kmsg"), "No such file or directory");
  root.write("/var/log/kern.log", "Nov 1 box kernel: NVRM: Xid (0000:10:00): 48, oops\n");
  EXPECT_THAT(facts_of(root).xids, testing::Optional(ElementsAre(Field(&XidEvent::code, 48))));
}

TEST(GatherFactsOf, NothingNamesWhatIsMissing) {
  const FakeRoot root;
  const MachineFacts facts = facts_of(root);
  EXPECT_EQ(facts.host.cpus, std::nullopt);
  EXPECT_EQ(facts.host.iommu_active, std::nullopt);
  EXPECT_THAT(facts.pci, IsEmpty());
  EXPECT_EQ(facts.xids, std::nullopt);
  for (const char* needed : {"/proc/meminfo", "/proc/cpuinfo", "/proc/cmdline", "/proc/self/limits", "/dev/kmsg"}) {
    EXPECT_EQ(reason_for(facts, needed), "No such file or directory") << needed;
  }
}

TEST_F(GatherFacts, NamesWhatItMayNotRead) {
  // A folder in the place of a file: root may read all files, so that their permissions would not do here.
  for (const char* file : {"/proc/meminfo", "/proc/modules", "/dev/kmsg"}) {
    root.remove(file);
    root.write(std::string(file) + "/inside", "");
    EXPECT_EQ(reason_for(facts_of(root), file), "Is a directory");
  }
}

TEST_F(GatherFacts, ReadsNoGarbageAsFacts) {
  const std::string garbage = std::string(300, '\xff') + std::string("\0\n: = ,-\n", 9) + "99999999999999999999";
  for (const char* file :
       {"/etc/os-release", "/etc/group", "/proc/sys/kernel/osrelease", "/proc/cpuinfo", "/proc/meminfo",
        "/proc/1/cgroup", "/proc/self/cgroup", "/proc/self/mountinfo", "/proc/self/limits", "/proc/loadavg",
        "/proc/cmdline", "/dev/kmsg", "/proc/modules", "/proc/driver/nvidia/version", "/sys/devices/system/cpu/online",
        "/sys/class/dmi/id/sys_vendor", "/proc/driver/nvidia/gpus/0000:10:00.0/information"}) {
    root.write(file, garbage);
  }
  const HostFacts host = host_of(root);
  EXPECT_EQ(host.os + host.kernel + host.hypervisor, "");
  EXPECT_EQ(host.cpus, std::nullopt);
  EXPECT_EQ(host.memory_bytes, std::nullopt);
  EXPECT_EQ(host.memlock_bytes, std::nullopt);
  EXPECT_EQ(host.load_average, std::nullopt);
  EXPECT_THAT(host.kernel_modules, IsEmpty());
}

TEST_F(GatherFacts, ReadsNoFileWithoutEnd) {
  root.remove("/proc/modules");
  std::filesystem::create_symlink("/dev/zero", root.path() / "proc/modules");
  std::filesystem::remove(root.path() / "proc/cmdline");
  ASSERT_EQ(mkfifo((root.path() / "proc/cmdline").c_str(), 0600), 0);  // nobody writes
  root.write("/proc/loadavg", std::string(1 << 20, '1') + ".5");
  const HostFacts host = host_of(root);
  EXPECT_THAT(host.kernel_modules, IsEmpty());
  EXPECT_THAT(host.kernel_options, IsEmpty());
}

TEST(GatherFactsOf, ThisMachineAreThere) {
  const MachineFacts facts = gather_machine_facts();
  EXPECT_NE(facts.host.kernel, "");
  EXPECT_GT(facts.host.cpus.value_or(0), 0);
  EXPECT_GT(facts.host.memory_bytes.value_or(0), 0u);
  EXPECT_GE(facts.host.memory_bytes.value_or(0), facts.host.available_memory_bytes.value_or(0));
}

}  // namespace
}  // namespace tandem
