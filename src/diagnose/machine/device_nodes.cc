#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "base/format.h"
#include "diagnose/machine/collectors.h"

namespace tandem {
namespace {

// Not getgrgid(): that may ask a server.
std::string group_name(std::string_view groups, gid_t id) {
  for (const std::string_view line : split(groups, '\n')) {
    const std::vector<std::string_view> fields = split(line, ':');
    if (fields.size() >= 3 && number<gid_t>(fields[2]) == id) return std::string(fields[0]);
  }
  return format("{}", id);
}

// Permissions are not all: a container's control group may forbid a device that they allow, and only opening it tells.
// Those of nvidia-caps are for root alone, and opening one says nothing of the GPUs.
bool is_usable(const std::filesystem::path& path, bool open_it) {
  if (faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK, AT_EACCESS) != 0) return false;
  if (!open_it) return true;
  const int file = open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (file >= 0) close(file);
  return file >= 0;
}

// Minors of the GPUs that the driver serves, so that a missing node shows.
std::set<std::string> wanted_nodes(const SystemFiles& files) {
  std::set<std::string> wanted = {"/dev/nvidiactl", "/dev/nvidia-uvm"};
  constexpr std::string_view kGpus = "/proc/driver/nvidia/gpus";
  for (const std::string& gpu : files.names(kGpus)) {
    const std::string text = files.read(format("{}/{}/information", kGpus, gpu)).value_or("");
    for (const std::string_view line : split(text, '\n')) {
      constexpr std::string_view kMinor = "Device Minor:";
      if (!line.starts_with(kMinor)) continue;
      const auto minor = number<unsigned>(trimmed(line.substr(kMinor.size())));
      if (minor) wanted.insert(format("/dev/nvidia{}", *minor));
    }
  }
  return wanted;
}

}  // namespace

std::vector<DeviceNode> collect_device_nodes(const SystemFiles& files) {
  std::set<std::string> paths = wanted_nodes(files);
  for (const std::string& name : files.names("/dev")) {
    const bool of_gpu = name.starts_with("nvidia") && number<unsigned>(std::string_view(name).substr(6));
    if (of_gpu || name == "nvidia-uvm-tools" || name == "dxg") paths.insert("/dev/" + name);
  }
  for (const std::string& name : files.names("/dev/nvidia-caps")) paths.insert("/dev/nvidia-caps/" + name);
  const std::string groups = files.read("/etc/group", 1 << 20).value_or("");
  std::vector<DeviceNode> nodes;
  for (const std::string& path : paths) {
    DeviceNode node{.path = path};
    struct stat found{};
    const std::filesystem::path place = files.place(path);
    if (stat(place.c_str(), &found) == 0) {
      node.exists = true;
      node.mode = format("{:04o}", found.st_mode & 07777);
      node.group = group_name(groups, found.st_gid);
      node.usable = is_usable(place, !path.starts_with("/dev/nvidia-caps/"));
    }
    if (nodes.size() < kMaxListedFacts) nodes.push_back(std::move(node));
  }
  return nodes;
}

}  // namespace tandem
