#include "cli/devices.h"

#include <algorithm>

#include "base/error.h"
#include "comm/device_list.h"
#include "comm/group_size.h"
#include "device/cuda/runtime.h"

namespace tandem::cli {

std::vector<Device> devices_to_check(const Settings& settings) {
  const std::vector<std::string> names = settings.list("devices");
  const int ranks = settings.bounded("tp", kMaxWorldSize);
  if (!names.empty()) return parse_devices(names, ranks);
  int num_gpus = 0;
  if constexpr (kBuiltWithCuda) num_gpus = cuda::num_devices();
  if (num_gpus == 0) return parse_devices(names, ranks > 0 ? ranks : 2);
  if (ranks > num_gpus) {
    fail_with_hint(ErrorKind::kInvalidArgument, format("{} ranks, and {} GPUs", ranks, num_gpus),
                   "a smaller --tp, or --devices cpu to check CPU ranks");
  }
  std::vector<std::string> gpus;
  for (int i = 0; i < (ranks > 0 ? ranks : std::min(num_gpus, kMaxWorldSize)); ++i) gpus.push_back(std::to_string(i));
  return parse_devices(gpus, 0);
}

}  // namespace tandem::cli
