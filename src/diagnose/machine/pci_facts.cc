// /sys/bus/pci/devices: NVIDIA's GPUs and the bridges above them. A device's real path names all bridges above it.
#include <algorithm>
#include <map>
#include <span>
#include <system_error>

#include "base/format.h"
#include "diagnose/machine/collectors.h"

namespace tandem {
namespace {

constexpr std::string_view kDevices = "/sys/bus/pci/devices";
constexpr std::string_view kNvidia = "0x10de";
constexpr std::string_view kDisplay = "0x03";  // VGA, 3D and other display controllers
constexpr int kMaxDepth = 32;

// "0000:17:00.0"; domains of virtual machines may be longer.
bool is_address(std::string_view text) {
  const std::size_t length = text.size();
  if (length < 12 || length > 16 || text[length - 2] != '.' || text[length - 5] != ':' || text[length - 8] != ':') {
    return false;
  }
  return text.find_first_not_of("0123456789abcdef:.") == text.npos;
}

/// A device's configuration: 64 bytes for everybody, the rest (256, 4096 with PCI Express) for root.
class Configuration {
 public:
  explicit Configuration(std::string_view bytes) : bytes_(bytes) {}

  std::uint32_t read(std::size_t at, std::size_t size) const {
    std::uint32_t value = 0;
    if (at + size > bytes_.size()) return 0;
    for (std::size_t i = 0; i < size; ++i) {
      value |= std::uint32_t{static_cast<unsigned char>(bytes_[at + i])} << (8 * i);
    }
    return value;
  }

  bool answers() const { return bytes_.size() < 4 || read(0, 4) != 0xffffffff; }
  bool has_all() const { return bytes_.size() >= 4096; }
  bool is_cut() const { return !bytes_.empty() && bytes_.size() <= 64; }

  // The lists could lead round in circles.
  static constexpr int kMaxCapabilities = 256;

  std::size_t capability(std::uint32_t id) const {
    if ((read(0x06, 2) & 0x10) == 0) return 0;
    std::size_t at = read(0x34, 1) & 0xfc;
    for (int i = 0; i < kMaxCapabilities && at >= 0x40; ++i, at = read(at + 1, 1) & 0xfc) {
      if (read(at, 1) == id) return at;
    }
    return 0;
  }

  std::size_t extended_capability(std::uint32_t id) const {
    std::size_t at = 0x100;
    for (int i = 0; i < kMaxCapabilities && at >= 0x100; ++i, at = read(at, 4) >> 20 & 0xffc) {
      if ((read(at, 4) & 0xffff) == id) return at;
    }
    return 0;
  }

 private:
  std::string_view bytes_;
};

// By the PCI Express capability's port type; empty: not known.
std::string_view kind_of(const Configuration& configuration) {
  const std::size_t express = configuration.capability(0x10);
  if (express == 0) return "";
  switch (configuration.read(express + 2, 2) >> 4 & 0xf) {
    case 4:
      return "root-port";
    case 5:
      return "switch-up";
    case 6:
      return "switch-down";
    default:
      return "bridge";
  }
}

// By its place: below a root port hangs a switch, whose ports lead down.
std::string_view kind_below(std::string_view parent_kind) {
  if (parent_kind.empty()) return "root-port";
  if (parent_kind == "root-port" || parent_kind == "switch-down") return "switch-up";
  return parent_kind == "switch-up" ? "switch-down" : "bridge";
}

// Peers' requests (bit 2) or answers (3) are sent up to the root, or what others sent there goes on (4).
std::optional<bool> acs_redirects(const Configuration& configuration) {
  if (!configuration.has_all()) return std::nullopt;
  const std::size_t acs = configuration.extended_capability(0x0d);
  return acs != 0 && (configuration.read(acs + 6, 2) & 0b11100) != 0;
}

// Bytes of a region by a line of `resource`: "0xstart 0xend 0xflags".
std::uint64_t region_bytes(std::string_view line) {
  const std::vector<std::string_view> fields = words(line);
  if (fields.size() != 3 || !fields[0].starts_with("0x") || !fields[1].starts_with("0x")) return 0;
  const auto begin = number<std::uint64_t>(fields[0].substr(2), 16),
             end = number<std::uint64_t>(fields[1].substr(2), 16);
  return begin && end && *end > *begin && *end - *begin < ~std::uint64_t{0} ? *end - *begin + 1 : 0;
}

// Region 1 is the second, or the third where the first has an address of 64 bits.
std::optional<std::uint64_t> bar1_bytes(std::string_view resource) {
  const std::vector<std::string_view> lines = split(resource, '\n');
  for (std::size_t i = 1; i < std::min<std::size_t>(3, lines.size()); ++i) {
    if (const std::uint64_t bytes = region_bytes(lines[i]); bytes > 0) return bytes;
  }
  return std::nullopt;
}

// "16.0 GT/s PCIe", "Unknown"
std::optional<double> link_speed(const std::string& text) {
  const std::vector<std::string_view> fields = words(text);
  return fields.size() >= 2 && fields[1] == "GT/s" ? number<double>(fields[0]) : std::nullopt;
}

std::optional<int> link_width(const std::string& text) {
  const auto lanes = number<int>(text);
  return lanes && *lanes > 0 && *lanes <= 32 ? lanes : std::nullopt;
}

PciDevice device_at(const SystemFiles& files, const std::string& folder, const PciDevice* parent) {
  const auto line = [&](std::string_view name) { return files.line(format("{}/{}", folder, name)); };
  PciDevice device{.address = folder.substr(folder.rfind('/') + 1), .vendor = line("vendor"), .device = line("device")};
  const bool is_gpu = device.vendor == kNvidia && line("class").starts_with(kDisplay);
  const std::string config_path = folder + "/config";
  const std::string bytes = files.need(config_path, 4096).value_or("");
  const Configuration configuration(bytes);
  device.answers = configuration.answers();
  if (is_gpu) {
    device.kind = "gpu";
    device.bar1_bytes = bar1_bytes(files.need(folder + "/resource").value_or(""));
  } else {
    device.kind = kind_of(configuration);
    if (device.kind.empty()) device.kind = kind_below(parent != nullptr ? parent->kind : "");
    if (device.answers) device.acs_redirects = acs_redirects(configuration);
    if (configuration.is_cut()) {
      files.note(config_path, format("only {} bytes of it are for this user", bytes.size()));
    }
  }
  device.driver = files.link_end(folder + "/driver");
  if (parent != nullptr) device.parent = parent->address;
  device.link_gts = link_speed(line("current_link_speed"));
  device.max_link_gts = link_speed(line("max_link_speed"));
  device.link_width = link_width(line("current_link_width"));
  device.max_link_width = link_width(line("max_link_width"));
  device.numa_node = number<int>(line("numa_node"));
  if (const auto group = number<int>(files.link_end(folder + "/iommu_group")); group && *group >= 0) {
    device.iommu_group = group;
    device.iommu_group_type = files.line(format("/sys/kernel/iommu_groups/{}/type", *group));
  }
  return device;
}

}  // namespace

std::vector<PciDevice> collect_pci(const SystemFiles& files) {
  std::map<std::string, PciDevice> found;
  for (const std::string& name : files.names(kDevices)) {
    const std::string link = format("{}/{}", kDevices, name);
    if (!is_address(name) || files.line(link + "/vendor") != kNvidia) continue;
    if (!files.line(link + "/class").starts_with(kDisplay)) continue;
    std::error_code error;
    const std::filesystem::path root = std::filesystem::canonical(files.place("/"), error);
    const std::filesystem::path real = std::filesystem::canonical(files.place(link), error);
    if (error) {
      files.note(link, error.message());
      continue;
    }
    std::string folder;
    const PciDevice* parent = nullptr;
    int depth = 0;
    for (const std::filesystem::path& part : real.lexically_relative(root)) {
      folder += "/" + part.string();
      if (!is_address(part.string()) || ++depth > kMaxDepth) continue;
      if (found.size() == kMaxListedFacts) break;
      auto known = found.find(part.string());
      if (known == found.end()) known = found.emplace(part.string(), device_at(files, folder, parent)).first;
      parent = &known->second;
    }
  }
  std::vector<PciDevice> devices;
  for (auto& [address, device] : found) devices.push_back(std::move(device));
  return devices;
}

}  // namespace tandem
