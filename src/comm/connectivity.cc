#include "comm/connectivity.h"

#include <algorithm>

#include "base/error.h"
#include "comm/device_list.h"
#include "comm/trust/record.h"

namespace tandem {

P2pConnectivity check_p2p_connectivity(std::span<const Device> devices) {
  if (devices.empty()) return {};
  std::vector<std::string> names;
  for (const Device device : devices) names.push_back(to_string(device));
  const std::vector<Device> group = parse_devices(names, 0);
  if (std::any_of(group.begin(), group.end(), [&](Device device) { return device.kind != group[0].kind; })) {
    fail_with_hint(ErrorKind::kInvalidArgument, "GPUs and CPUs in one group", "list GPUs only");
  }
  P2pConnectivity result{.machine = record_snapshot(group, {.probe = own_measurements(group).probe, .calibrate = {}})};
  if (group.size() > 1) result.why_not = why_not(result.machine, "p2p", Evidence::kProbed);
  return result;
}

P2pConnectivity check_p2p_connectivity(const std::vector<int>& gpus) {
  std::vector<Device> devices;
  for (const int gpu : gpus) devices.push_back({DeviceKind::kCuda, gpu});
  return check_p2p_connectivity(devices);
}

}  // namespace tandem
