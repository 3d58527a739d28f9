#include "diagnose/machine/fake_root.h"

#include <unistd.h>

#include <atomic>
#include <fstream>

#include "base/error.h"

namespace tandem {

FakeRoot::FakeRoot() {
  static std::atomic<int> count = 0;
  path_ = std::filesystem::temp_directory_path() / format("tandem-root-{}-{}", getpid(), ++count);
  std::filesystem::create_directories(path_);
}

FakeRoot::~FakeRoot() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void FakeRoot::write(std::string_view file, std::string_view text) const {
  const std::filesystem::path place = path_ / file.substr(1);
  std::filesystem::create_directories(place.parent_path());
  std::ofstream out(place, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  TANDEM_CHECK(out.good(), "cannot write {}", place.string());
}

void FakeRoot::link(std::string_view file, std::string_view target) const {
  const std::filesystem::path place = path_ / file.substr(1);
  std::filesystem::create_directories(place.parent_path());
  std::filesystem::create_symlink((path_ / target.substr(1)).lexically_relative(place.parent_path()), place);
}

void FakeRoot::remove(std::string_view file) const {
  std::filesystem::remove_all(path_ / file.substr(1));
}

std::string pci_configuration(int port_type, int acs_control, std::size_t bytes) {
  std::string config(bytes, '\0');
  const auto put = [&](std::size_t at, std::uint32_t value, std::size_t size) {
    for (std::size_t i = 0; i < size && at + i < bytes; ++i) config[at + i] = static_cast<char>(value >> (8 * i));
  };
  put(0x00, 0x1234, 2);
  put(0x06, 0x10, 2);  // there are capabilities
  put(0x34, 0x48, 1);
  put(0x48, 0x6001, 2);  // power management, then PCI Express
  put(0x60, 0x0010, 2);
  put(0x62, static_cast<std::uint32_t>(port_type) << 4 | 2, 2);
  put(0x100, 0x14820001, 4);  // error reporting, then access control
  if (acs_control >= 0) {
    put(0x148, 0x0001000d, 4);
    put(0x14e, static_cast<std::uint32_t>(acs_control), 2);
  }
  return config;
}

std::string FakeRoot::pci_folder(std::string_view address) {
  std::string folder = "/sys/devices/pci0000:00";
  const char* const chain[] = {"0000:00:01.0", "0000:01:00.0", nullptr};
  for (const char* const* bridge = chain; *bridge != nullptr; ++bridge) {
    folder += format("/{}", *bridge);
    if (address == *bridge) return folder;
  }
  const bool first = address == "0000:02:00.0" || address == "0000:10:00.0";
  folder += first ? "/0000:02:00.0" : "/0000:02:01.0";
  return address.starts_with("0000:02:") ? folder : format("{}/{}", folder, address);
}

void FakeRoot::add_pci(std::string_view address, std::string_view vendor, std::string_view type,
                       std::string_view config) const {
  const std::string folder = pci_folder(address);
  write(folder + "/vendor", format("{}\n", vendor));
  write(folder + "/device", "0x2330\n");
  write(folder + "/class", format("{}\n", type));
  write(folder + "/config", config);
  write(folder + "/numa_node", "0\n");
  write(folder + "/current_link_speed", "16.0 GT/s PCIe\n");
  write(folder + "/max_link_speed", "32.0 GT/s PCIe\n");
  write(folder + "/current_link_width", "8\n");
  write(folder + "/max_link_width", "16\n");
  link(format("/sys/bus/pci/devices/{}", address), folder);
}

void FakeRoot::fill() const {
  write("/etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
  write("/etc/group", "root:x:0:\nvideo:x:44:\n");
  write("/proc/sys/kernel/osrelease", "6.1.0-13-amd64\n");
  std::string cpus;
  for (int i = 0; i < 4; ++i) {
    cpus += format("processor\t: {}\nflags\t\t: fpu vme hypervisor avx2\n\n", i);
    write(format("/sys/devices/system/cpu/cpu{}/topology/physical_package_id", i), format("{}\n", i / 2));
  }
  write("/proc/cpuinfo", cpus);
  write("/sys/devices/system/cpu/online", "0-2,3\n");
  write("/sys/devices/system/node/node0/cpulist", "0-1\n");
  write("/sys/devices/system/node/node1/cpulist", "2-3\n");
  write("/sys/class/dmi/id/sys_vendor", "QEMU\n");
  write("/sys/class/dmi/id/product_name", "Standard PC\n");
  write("/proc/1/cgroup", "0::/\n");
  write("/proc/self/cgroup", "0::/job\n");
  write("/proc/self/mountinfo",
        "600 500 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/ABC\n"
        "610 600 0:60 / /dev/shm rw,nosuid - tmpfs shm rw,size=65536k\n");
  write("/.dockerenv", "");
  write("/proc/meminfo", "MemTotal:       32000000 kB\nMemFree:  1 kB\nMemAvailable:   16000000 kB\n");
  write("/sys/fs/cgroup/job/memory.max", "max\n");
  write("/sys/fs/cgroup/memory.max", "8192000000\n");
  write("/sys/fs/cgroup/memory.current", "2000000000\n");
  write("/sys/fs/cgroup/memory.stat", "anon 5\ninactive_file 500000000\n");
  write("/proc/loadavg", "1.25 0.50 0.10 1/200 300\n");
  write("/proc/self/limits",
        "Limit  Soft Limit  Hard Limit  Units\nMax locked memory         65536  unlimited  bytes\n");
  write("/proc/cmdline", "root=UUID=1 quiet intel_iommu=on iommu=pt modprobe.blacklist=nouveau password=secret\n");
  write("/sys/class/iommu/dmar0/uevent", "");
  write("/proc/modules",
        "vfio_pci 16384 0 - Live 0x0\nnvidia_uvm 1 0 - Live 0x0\nnvidia 1 3 - Live 0x0\nloop 1 0 - Live\n");
  write("/proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (builder@box)\n"
        "GCC version:  gcc version 12.2.0\n");
  write("/proc/driver/nvidia/params", "EnableMSI: 1\nRegistryDwords: \"ForceP2P=0x11\"\n");
  write("/proc/driver/nvidia/gpus/0000:10:00.0/information", "Model: \t\t NVIDIA H200\nDevice Minor: \t 0\n");
  write("/proc/driver/nvidia/gpus/0000:20:00.0/information", "Device Minor: \t 1\n");
  write("/dev/nvidia0", "");
  write("/dev/nvidiactl", "");
  write("/dev/nvidia-uvm", "");
  write("/dev/nvidia-caps/nvidia-cap1", "");
  write("/dev/kmsg",
        "6,1,2,-;NVRM: loading NVIDIA UNIX Open Kernel Module\n"
        "4,2,3,-;NVRM: Xid (PCI:0000:10:00): 79, pid=77, name=app, GPU has fallen off the bus.\n"
        "4,3,4,-;NVRM: Xid (PCI:0000:20:00): 31, pid=77\n4,4,5,-;NVRM: Xid (PCI:0000:10:00): 79, pid=78\n"
        "4,5,6,-;NVRM: Xid (PCI:../../etc): 5\n4,6,7,-;NVRM: Xid (PCI:0000:10:00): many\n4,7,8,-;NVRM: Xid (PCI\n");
  constexpr int kRedirects = 0x1d;
  add_pci("0000:00:01.0", "0x8086", "0x060400", pci_configuration(4, 0));
  add_pci("0000:01:00.0", "0x1000", "0x060400", pci_configuration(5, -1));
  add_pci("0000:02:00.0", "0x1000", "0x060400", pci_configuration(6, kRedirects));
  add_pci("0000:02:01.0", "0x1000", "0x060400", pci_configuration(6, 0x01));
  for (const char* gpu : {"0000:10:00.0", "0000:20:00.0"}) {
    add_pci(gpu, "0x10de", "0x030200", pci_configuration(0, -1));
    const std::string folder = pci_folder(gpu);
    write(folder + "/resource",
          "0x00000000f0000000 0x00000000f0ffffff 0x0000000000040200\n"
          "0x0000380000000000 0x0000383fffffffff 0x000000000014220c\n"
          "0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
    link(folder + "/driver", "/sys/bus/pci/drivers/nvidia");
    link(folder + "/iommu_group", "/sys/kernel/iommu_groups/17");
  }
  write("/sys/kernel/iommu_groups/17/type", "DMA-FQ\n");
}

}  // namespace tandem
