#include "diagnose/machine/facts_json.h"

#include <concepts>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "comm/trust/snapshot_field.h"
#include "comm/trust/snapshot_json.h"
#include "diagnose/machine/system_files.h"

namespace tandem {
namespace {

constexpr int kVersion = 2;
constexpr std::size_t kMaxFile = 64 << 20;

// Each field once, for writing and for reading: `visit` gets its name, its place and, for integers, its least value.
template <class T, class Facts>
concept Some = std::same_as<std::remove_const_t<T>, Facts>;

void each_field(auto& visit, Some<Unread> auto& unread) {
  visit("source", unread.source);
  visit("reason", unread.reason);
}

void each_field(auto& visit, Some<DeviceNode> auto& node) {
  visit("path", node.path);
  visit("exists", node.exists);
  visit("usable", node.usable);
  visit("mode", node.mode);
  visit("group", node.group);
}

void each_field(auto& visit, Some<HostFacts> auto& host) {
  visit("os", host.os);
  visit("kernel", host.kernel);
  visit("hypervisor", host.hypervisor);
  visit("wsl", host.wsl);
  visit("container", host.container);
  visit("cpus", host.cpus);
  visit("sockets", host.sockets);
  visit("numa_nodes", host.numa_nodes);
  visit("memory_bytes", host.memory_bytes);
  visit("available_memory_bytes", host.available_memory_bytes);
  visit("load_average", host.load_average);
  visit("memlock_bytes", host.memlock_bytes);
  visit("shm_bytes", host.shm_bytes);
  visit("free_shm_bytes", host.free_shm_bytes);
  visit("kernel_options", host.kernel_options);
  visit("iommu_active", host.iommu_active);
  visit("kernel_modules", host.kernel_modules);
  visit("environment", host.environment);
  visit("device_nodes", host.device_nodes);
}

void each_field(auto& visit, Some<DriverFacts> auto& driver) {
  visit("version", driver.version);
  visit("flavour", driver.flavour);
  visit("cuda_version", driver.cuda_version);
  visit("built_for_cuda", driver.built_for_cuda);
  visit("parameters", driver.parameters);
  visit("nccl_found", driver.nccl_found);
  visit("nccl", driver.nccl);
  visit("no_cuda", driver.no_cuda);
  visit("no_nvml", driver.no_nvml);
}

void each_field(auto& visit, Some<PciDevice> auto& device) {
  visit("address", device.address);
  visit("vendor", device.vendor);
  visit("device", device.device);
  visit("kind", device.kind);
  visit("driver", device.driver);
  visit("parent", device.parent);
  visit("link_gts", device.link_gts);
  visit("max_link_gts", device.max_link_gts);
  visit("link_width", device.link_width);
  visit("max_link_width", device.max_link_width);
  visit("numa_node", device.numa_node, -1);
  visit("iommu_group", device.iommu_group);
  visit("iommu_group_type", device.iommu_group_type);
  visit("bar1_bytes", device.bar1_bytes);
  visit("acs_redirects", device.acs_redirects);
  visit("answers", device.answers);
}

void each_field(auto& visit, Some<NvLink> auto& link) {
  visit("active", link.active);
  visit("version", link.version);
  visit("remote", link.remote);
  visit("errors", link.errors);
}

void each_field(auto& visit, Some<GpuProcess> auto& process) {
  visit("pid", process.pid);
  visit("ours", process.ours);
  visit("memory_bytes", process.memory_bytes);
}

void each_field(auto& visit, Some<GpuHealth> auto& gpu) {
  visit("pci_address", gpu.pci_address);
  visit("name", gpu.name);
  visit("uuid", gpu.uuid);
  visit("compute_capability", gpu.compute_capability);
  visit("index", gpu.index);
  visit("memory_bytes", gpu.memory_bytes);
  visit("used_memory_bytes", gpu.used_memory_bytes);
  visit("bar1_bytes", gpu.bar1_bytes);
  visit("used_bar1_bytes", gpu.used_bar1_bytes);
  visit("mig", gpu.mig);
  visit("display_active", gpu.display_active);
  visit("persistence", gpu.persistence);
  visit("compute_mode", gpu.compute_mode);
  visit("virtualization", gpu.virtualization);
  visit("addressing_mode", gpu.addressing_mode);
  visit("watts", gpu.watts);
  visit("limit_watts", gpu.limit_watts);
  visit("max_limit_watts", gpu.max_limit_watts);
  visit("celsius", gpu.celsius, -273);
  visit("slowdown_celsius", gpu.slowdown_celsius, -273);
  visit("sm_mhz", gpu.sm_mhz);
  visit("max_sm_mhz", gpu.max_sm_mhz);
  visit("throttle_reasons", gpu.throttle_reasons);
  visit("pcie_generation", gpu.pcie_generation);
  visit("max_pcie_generation", gpu.max_pcie_generation);
  visit("pcie_width", gpu.pcie_width);
  visit("max_pcie_width", gpu.max_pcie_width);
  visit("pcie_replays", gpu.pcie_replays);
  visit("ecc", gpu.ecc);
  visit("uncorrected_ecc_errors", gpu.uncorrected_ecc_errors);
  visit("pending_row_remap", gpu.pending_row_remap);
  visit("nvlinks", gpu.nvlinks);
  visit("fabric_state", gpu.fabric_state);
  visit("processes", gpu.processes);
}

void each_field(auto& visit, Some<XidEvent> auto& event) {
  visit("pci_address", event.pci_address);
  visit("code", event.code);
  visit("times", event.times);
}

// `fabric` is the rest of the file: what version 1 has.
void each_field(auto& visit, Some<MachineFacts> auto& facts) {
  visit("host", facts.host);
  visit("driver_facts", facts.driver);
  visit("pci", facts.pci);
  visit("gpu_health", facts.gpus);
  visit("xids", facts.xids);
  visit("supply_watts", facts.supply_watts);
  visit("unread", facts.unread);
  visit("composed", facts.composed);
}

class Writer {
 public:
  explicit Writer(Json& json) : json_(json) {}

  template <class T>
  void operator()(const char* name, const T& value, int = 0) {
    write(json_[name], value);
  }

 private:
  static void write(Json& json, const std::string& value) { json = one_line(value); }
  template <class T>
    requires std::is_arithmetic_v<T>
  static void write(Json& json, T value) {
    json = value;
  }
  template <class T>
  static void write(Json& json, const std::optional<T>& value) {
    json = nullptr;
    if (value) write(json, *value);
  }
  template <class T>
  static void write(Json& json, const std::vector<T>& values) {
    json = Json::array();
    for (const T& value : values) write(json.emplace_back(), value);
  }
  static void write(Json& json, const std::map<std::string, std::string>& values) {
    json = Json::object();
    for (const auto& [key, value] : values) write(json[one_line(key)], value);
  }
  template <class T>
    requires std::is_class_v<T>
  static void write(Json& json, const T& value) {
    Writer writer(json);
    each_field(writer, value);
  }
  Json& json_;
};

class Reader {
 public:
  explicit Reader(const SnapshotField& field) : field_(field) {}

  template <class T>
  void operator()(const char* name, T& value, int least = 0) {
    read(field_.at(name), value, least);
  }

 private:
  static void read(const SnapshotField& field, std::string& value, int) { value = field.text(); }
  static void read(const SnapshotField& field, bool& value, int) { value = field.boolean(); }
  static void read(const SnapshotField& field, double& value, int) { value = field.number(); }
  template <std::integral T>
  static void read(const SnapshotField& field, T& value, int least) {
    value = field.integer<T>(static_cast<T>(least), std::numeric_limits<T>::max());
  }
  template <class T>
  static void read(const SnapshotField& field, std::optional<T>& value, int least) {
    if (!field.is_null()) read(field, value.emplace(), least);
  }
  template <class T>
  static void read(const SnapshotField& field, std::vector<T>& values, int) {
    for (const SnapshotField& element : field.elements(kMaxListedFacts)) read(element, values.emplace_back(), 0);
  }
  static void read(const SnapshotField& field, std::map<std::string, std::string>& values, int) {
    for (const auto& [key, member] : field.members(kMaxListedFacts)) values[key] = member.text();
  }
  template <class T>
    requires std::is_class_v<T>
  static void read(const SnapshotField& field, T& value, int) {
    Reader reader(field);
    each_field(reader, value);
  }
  const SnapshotField& field_;
};

}  // namespace

std::string machine_facts_json(const MachineFacts& facts) {
  Json json = parse_json(snapshot_json(facts.fabric), "snapshot");
  json["version"] = kVersion;
  Writer writer(json);
  each_field(writer, facts);
  return json_text(json, 1) + "\n";
}

MachineFacts parse_machine_facts(std::string_view text, std::string_view origin) {
  if (text.size() > kMaxFile) fail(ErrorKind::kBadFile, "{}: {} bytes, {} at most", origin, text.size(), kMaxFile);
  MachineFacts facts{.fabric = parse_snapshot(text, origin)};
  const Json json = parse_json(text, origin);
  if (json["version"] != kVersion) {
    facts.unread = {{.source = "the machine", .reason = "a snapshot of version 1 has no facts of it"}};
    return facts;
  }
  const SnapshotField top(json, origin);
  Reader reader(top);
  each_field(reader, facts);
  return facts;
}

MachineFacts read_machine_facts(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_machine_facts({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path.string());
}

}  // namespace tandem
