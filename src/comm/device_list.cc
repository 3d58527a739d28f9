#include "comm/device_list.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "comm/group.h"
#include "device/cuda/runtime.h"

namespace tandem {
namespace {

std::optional<int> parse_index(std::string_view text) {
  int index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc{} || end != text.data() + text.size() || index < 0) return std::nullopt;
  return index;
}

bool names_gpu(std::string_view name) {
  return parse_index(name) || (name.starts_with("cuda:") && parse_index(name.substr(5))) || name.starts_with("GPU-") ||
         std::count(name.begin(), name.end(), ':') == 2;  // PCI: domain:bus:device.function
}

Device find_gpu(const std::string& name) {
  std::string why_none = "this build has no CUDA";
  if constexpr (kBuiltWithCuda) {
    const int num_devices = cuda::num_devices(&why_none);
    const auto index = parse_index(name.starts_with("cuda:") ? std::string_view(name).substr(5) : name);
    for (int device = 0; device < num_devices; ++device) {
      if (index ? *index == device : cuda::device_info(device).is_named(name)) return {DeviceKind::kCuda, device};
    }
    if (num_devices > 0) {
      fail_with_hint(ErrorKind::kNotFound, format("there is no GPU \"{}\"; {} can be used", name, num_devices),
                     "numbers count from 0, among those that CUDA_VISIBLE_DEVICES leaves; nvidia-smi -L lists UUIDs");
    }
  }
  fail_with_hint(ErrorKind::kUnsupported, format("device \"{}\" is a GPU, and none can be used: {}", name, why_none),
                 "use --devices cpu, or leave --devices out");
}

Device parse_device(const std::string& name, int place) {
  if (name == "cpu") return {DeviceKind::kCpu, place};
  if (name.starts_with("cpu:")) {
    if (const auto index = parse_index(std::string_view(name).substr(4))) return {DeviceKind::kCpu, *index};
  }
  if (names_gpu(name)) return find_gpu(name);
  fail_with_hint(ErrorKind::kInvalidArgument, format("\"{}\" is not a device", name),
                 "devices are cpu, cpu:N, a GPU's number, its UUID or its PCI address, separated by commas");
}

}  // namespace

std::vector<Device> parse_devices(std::span<const std::string> names, int tp_size) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] != "cpu" && std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) !=
                                 names.begin() + static_cast<std::ptrdiff_t>(i)) {
      fail_with_hint(ErrorKind::kInvalidArgument, format("device \"{}\" is listed twice", names[i]),
                     "give each rank a device of its own");
    }
  }
  const bool any_number = names.empty() || (names.size() == 1 && names[0] == "cpu");
  const int world_size = tp_size != 0 ? tp_size : std::max(1, static_cast<int>(names.size()));
  if (world_size < 1 || world_size > kMaxWorldSize) {
    fail_with_hint(ErrorKind::kInvalidArgument, format("{} ranks were asked for", world_size),
                   format("use 1 to {} ranks (--tp)", kMaxWorldSize));
  }
  if (!any_number && static_cast<int>(names.size()) != world_size) {
    fail_with_hint(ErrorKind::kInvalidArgument, format("{} devices for {} ranks", names.size(), world_size),
                   "list one device a rank, or leave one of --tp and --devices out");
  }
  std::vector<Device> devices;
  for (int rank = 0; rank < world_size; ++rank) {
    devices.push_back(any_number ? Device{DeviceKind::kCpu, rank}
                                 : parse_device(names[static_cast<std::size_t>(rank)], rank));
    if (std::count(devices.begin(), devices.end(), devices.back()) > 1) {
      fail_with_hint(ErrorKind::kInvalidArgument,
                     format("device \"{}\" is {}, which is listed already", names[static_cast<std::size_t>(rank)],
                            to_string(devices.back())),
                     "give each rank a device of its own");
    }
  }
  return devices;
}

}  // namespace tandem
