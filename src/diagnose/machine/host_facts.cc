#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "diagnose/machine/collectors.h"

namespace tandem {
namespace {

constexpr std::size_t kManyCpus = 8 << 20;  // /proc/cpuinfo has some 1.5 KB for each

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

// "key: value" or "key value unit", as /proc has them.
std::string_view value_of(std::string_view text, std::string_view key) {
  for (std::string_view line : split(text, '\n')) {
    if (!line.starts_with(key)) continue;
    line = trimmed(line.substr(key.size()));
    if (line.starts_with(':')) line.remove_prefix(1);
    return trimmed(line);
  }
  return "";
}

std::string os_name(const SystemFiles& files) {
  std::optional<std::string> text = files.read("/etc/os-release");
  if (!text) text = files.need("/usr/lib/os-release");
  if (!text) return "";
  for (const std::string_view line : split(*text, '\n')) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    std::string_view name = trimmed(line.substr(line.find('=') + 1));
    if (name.size() >= 2 && (name.front() == '"' || name.front() == '\'') && name.back() == name.front()) {
      name = name.substr(1, name.size() - 2);
    }
    return std::string(name);
  }
  return "";
}

// Paravirtual machines have no flag in /proc/cpuinfo, nor have CPUs of ARM: there the maker's name must do.
std::string hypervisor_of(const SystemFiles& files, bool wsl) {
  if (wsl) return "hyper-v";
  if (files.line("/sys/hypervisor/type") == "xen") return "xen";
  const std::string cpus = files.need("/proc/cpuinfo", kManyCpus).value_or("");
  const std::string_view flags = value_of(cpus, "flags");
  const std::vector<std::string_view> known = words(flags);
  const bool flagged = std::find(known.begin(), known.end(), "hypervisor") != known.end();
  if (!flags.empty() && !flagged) return "";
  const std::string vendor = files.line("/sys/class/dmi/id/sys_vendor");
  const std::string product = files.line("/sys/class/dmi/id/product_name");
  if (has(vendor, "VMware") || has(product, "VMware")) return "vmware";
  if (has(vendor, "Xen")) return "xen";
  if (has(vendor, "Microsoft") && has(product, "Virtual Machine")) return "hyper-v";
  if (has(vendor, "QEMU") || has(product, "KVM") || has(product, "QEMU")) return "kvm";
  if (flagged && (has(vendor, "Amazon EC2") || has(vendor, "Google"))) return "kvm";
  return flagged ? "other" : "";
}

std::string container_of(const SystemFiles& files, const Environment& environment) {
  if (environment.contains("KUBERNETES_SERVICE_HOST")) return "kubernetes";
  // A machine that runs containers has their names in its mounts as well: those of a container's own files count.
  std::string own = files.need("/proc/1/cgroup").value_or("");
  const std::string mounts = files.need("/proc/self/mountinfo", 1 << 20).value_or("");
  bool overlay = false;
  for (const std::string_view line : split(mounts, '\n')) {
    const std::vector<std::string_view> fields = words(line);
    if (fields.size() < 5) continue;
    const std::string_view point = fields[4];
    if (point == "/") overlay = has(line, " - overlay ");
    if (point == "/" || point == "/etc/hostname" || point == "/etc/hosts" || point.starts_with("/proc/")) {
      own += line;
    }
  }
  if (has(own, "kubepods") || has(own, "kubelet")) return "kubernetes";
  if (files.exists("/run/.containerenv") || has(own, "libpod") || has(own, "containers/storage")) return "podman";
  if (files.exists("/.dockerenv") || has(own, "docker")) return "docker";
  if (has(own, "lxc")) return "lxc";
  return overlay || has(own, "containerd") ? "other" : "";
}

// "0-3,8"
std::optional<int> count_of_list(std::string_view list) {
  int count = 0;
  if (list.empty()) return std::nullopt;
  for (const std::string_view range : split(list, ',')) {
    const std::vector<std::string_view> ends = split(range, '-');
    const std::optional<int> first = number<int>(ends.front()), last = number<int>(ends.back());
    if (!first || !last || *first < 0 || *last < *first || *last > 1 << 20 || ends.size() > 2) return std::nullopt;
    count += *last - *first + 1;
    if (count > 1 << 20) return std::nullopt;
  }
  return count;
}

bool is_numbered(std::string_view name, std::string_view before) {
  return name.starts_with(before) && number<unsigned>(name.substr(before.size())).has_value();
}

void count_cpus(const SystemFiles& files, HostFacts& host) {
  constexpr std::string_view kCpus = "/sys/devices/system/cpu";
  host.cpus = count_of_list(files.line(std::string(kCpus) + "/online"));
  if (!host.cpus) {
    const std::string cpus = files.read("/proc/cpuinfo", kManyCpus).value_or("");
    const std::vector<std::string_view> lines = split(cpus, '\n');
    const auto count =
        std::count_if(lines.begin(), lines.end(), [](auto line) { return line.starts_with("processor"); });
    if (count > 0) host.cpus = static_cast<int>(count);
  }
  std::set<std::string> packages;
  for (const std::string& name : files.names(kCpus)) {
    if (!is_numbered(name, "cpu")) continue;
    const std::string package = files.line(std::string(kCpus) + "/" + name + "/topology/physical_package_id");
    if (!package.empty()) packages.insert(package);
  }
  if (!packages.empty()) host.sockets = static_cast<int>(packages.size());
  const std::vector<std::string> nodes = files.names("/sys/devices/system/node");
  const auto num_nodes =
      std::count_if(nodes.begin(), nodes.end(), [](const auto& n) { return is_numbered(n, "node"); });
  if (num_nodes > 0) host.numa_nodes = static_cast<int>(num_nodes);
}

void keep_smaller(std::optional<std::uint64_t>& value, std::optional<std::uint64_t> other) {
  if (other && (!value || *other < *value)) value = other;
}

struct MemoryGroup {
  std::string_view folder, limit, used, inactive;
};
constexpr MemoryGroup kGroups = {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "};
constexpr MemoryGroup kOldGroups = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                    "total_inactive_file "};

// A group's limit holds for those below it too. Files that only the page cache holds can be dropped.
void apply_limits(const SystemFiles& files, const MemoryGroup& kind, std::string path, HostFacts& host) {
  for (int depth = 0; depth < 64; ++depth) {
    const std::string folder = std::string(kind.folder) + (path == "/" ? "" : path) + "/";
    const auto limit = number<std::uint64_t>(files.line(folder + std::string(kind.limit)));  // "max": none
    if (limit && host.memory_bytes && *limit < *host.memory_bytes) host.memory_bytes = limit;
    const auto used = number<std::uint64_t>(files.line(folder + std::string(kind.used)));
    if (limit && used) {
      const std::string statistics = files.read(folder + "memory.stat").value_or("");
      const auto inactive = number<std::uint64_t>(value_of(statistics, kind.inactive)).value_or(0);
      const std::uint64_t held = *used - std::min(*used, inactive);
      keep_smaller(host.available_memory_bytes, *limit - std::min(*limit, held));
    }
    if (path.size() <= 1) return;
    path.resize(std::max<std::size_t>(1, path.rfind('/')));
  }
}

void measure_memory(const SystemFiles& files, HostFacts& host) {
  const std::string memory = files.need("/proc/meminfo").value_or("");
  const auto bytes = [&](std::string_view key) -> std::optional<std::uint64_t> {
    const std::vector<std::string_view> value = words(value_of(memory, key));
    const auto kilobytes = value.empty() ? std::nullopt : number<std::uint64_t>(value.front());
    if (!kilobytes || *kilobytes > ~std::uint64_t{0} >> 10) return std::nullopt;
    return *kilobytes << 10;
  };
  host.memory_bytes = bytes("MemTotal:");
  host.available_memory_bytes = bytes("MemAvailable:");
  const std::string groups = files.need("/proc/self/cgroup").value_or("");
  for (const std::string_view line : split(groups, '\n')) {
    const std::vector<std::string_view> fields = split(line, ':');  // number, controllers, path
    if (fields.size() != 3 || !fields[2].starts_with('/') || has(fields[2], "..")) continue;
    if (fields[1].empty()) apply_limits(files, kGroups, std::string(fields[2]), host);
    const std::vector<std::string_view> controllers = split(fields[1], ',');
    if (std::find(controllers.begin(), controllers.end(), "memory") != controllers.end()) {
      apply_limits(files, kOldGroups, std::string(fields[2]), host);
    }
  }
}

std::optional<std::uint64_t> locked_memory(const SystemFiles& files) {
  const std::string limits = files.need("/proc/self/limits").value_or("");
  const std::vector<std::string_view> values = words(value_of(limits, "Max locked memory"));
  if (values.empty()) return std::nullopt;
  return values.front() == "unlimited" ? ~std::uint64_t{0} : number<std::uint64_t>(values.front());
}

// "64k" of a mount's options
std::optional<std::uint64_t> size_of_option(std::string_view text) {
  constexpr std::string_view kUnits = "kmg";
  const std::size_t unit = text.empty() ? text.npos : kUnits.find(text.back());
  if (unit != text.npos) text.remove_suffix(1);
  const auto value = number<std::uint64_t>(text);
  const std::size_t shift = unit == text.npos ? 0 : 10 * (unit + 1);
  if (!value || *value > ~std::uint64_t{0} >> shift) return std::nullopt;
  return *value << shift;
}

void measure_shared_memory(const SystemFiles& files, HostFacts& host) {
  if (files.is_ours()) {
    struct statvfs found{};
    if (statvfs("/dev/shm", &found) != 0) {
      files.note("/dev/shm", std::generic_category().message(errno));
      return;
    }
    host.shm_bytes = std::uint64_t{found.f_blocks} * found.f_frsize;
    host.free_shm_bytes = std::uint64_t{found.f_bavail} * found.f_frsize;
    return;
  }
  const std::string mounts = files.read("/proc/self/mountinfo", 1 << 20).value_or("");
  for (const std::string_view line : split(mounts, '\n')) {
    const std::vector<std::string_view> fields = words(line);
    if (fields.size() < 5 || fields[4] != "/dev/shm") continue;
    for (const std::string_view option : split(fields.back(), ',')) {
      if (option.starts_with("size=")) host.shm_bytes = size_of_option(option.substr(5));
    }
  }
}

std::vector<std::string> kernel_options(const SystemFiles& files) {
  constexpr std::array<std::string_view, 9> kOfInterest = {"iommu", "intel_iommu", "amd_iommu", "arm-smmu",  "pci",
                                                           "vfio",  "nvidia",      "nouveau",   "nvidia_drm"};
  std::vector<std::string> found;
  const std::string options = files.need("/proc/cmdline").value_or("");
  for (const std::string_view option : words(options)) {
    const std::string_view name = option.substr(0, option.find('='));
    const bool blacklist = has(name, "blacklist") && (has(option, "nvidia") || has(option, "nouveau"));
    const bool wanted =
        std::any_of(kOfInterest.begin(), kOfInterest.end(), [&](auto n) { return name.starts_with(n); });
    if ((wanted || blacklist) && found.size() < kMaxListedFacts) found.emplace_back(option);
  }
  return found;
}

std::vector<std::string> kernel_modules(const SystemFiles& files) {
  std::vector<std::string> found;
  const std::string modules = files.need("/proc/modules", 1 << 20).value_or("");
  for (const std::string_view line : split(modules, '\n')) {
    const std::string_view name = line.substr(0, line.find(' '));
    const bool wanted = name.starts_with("nvidia") || name.starts_with("nouveau") || name.starts_with("vfio");
    if (wanted && found.size() < kMaxListedFacts) found.emplace_back(name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

Environment of_interest(const Environment& environment) {
  Environment found;
  for (const auto& [name, value] : environment) {
    constexpr std::array<std::string_view, 5> kOurs = {"CUDA_", "NVIDIA_", "NCCL_", "TANDEM_", "EXLLAMA_"};
    const bool wanted = std::any_of(kOurs.begin(), kOurs.end(), [&, n = name](auto o) { return n.starts_with(o); });
    if (wanted && found.size() < kMaxListedFacts) found[name] = value;
    if (name == "LD_LIBRARY_PATH") found[name] = "(set)";
  }
  return found;
}

}  // namespace

void collect_host(const SystemFiles& files, const Environment& environment, HostFacts& host) {
  host.os = os_name(files);
  std::string release = files.line("/proc/sys/kernel/osrelease");
  if (utsname system{}; release.empty() && files.is_ours() && uname(&system) == 0) release = system.release;
  host.kernel = release.substr(0, release.find_first_not_of("0123456789."));
  host.wsl = has(lower_case(release), "microsoft") || files.exists("/dev/dxg");
  host.hypervisor = hypervisor_of(files, host.wsl);
  host.container = container_of(files, environment);
  count_cpus(files, host);
  measure_memory(files, host);
  const std::string load = files.need("/proc/loadavg").value_or("");
  if (const auto fields = words(load); !fields.empty()) host.load_average = number<double>(fields.front());
  host.memlock_bytes = locked_memory(files);
  measure_shared_memory(files, host);
  host.kernel_options = kernel_options(files);
  if (files.exists("/sys/class")) host.iommu_active = !files.names("/sys/class/iommu").empty();
  host.kernel_modules = kernel_modules(files);
  host.environment = of_interest(environment);
  host.device_nodes = collect_device_nodes(files);
}

}  // namespace tandem
