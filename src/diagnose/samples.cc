#include "diagnose/samples.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/format.h"
#include "base/median.h"
#include "device/cuda/runtime.h"
#include "device/device.h"

namespace tandem {
namespace {

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(": ") + 2);
  }
  return "unknown";
}

}  // namespace

double Samples::median() const {
  return tandem::median(values);
}

double Samples::spread() const {
  if (values.empty()) return 0;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return (*high - *low) / median();
}

double Samples::smallest() const {
  return values.empty() ? 0 : *std::min_element(values.begin(), values.end());
}

std::string machine_name() {
  std::string name = format("{}, {} processors", cpu_name(), sysconf(_SC_NPROCESSORS_ONLN));
  if constexpr (kBuiltWithCuda) {
    if (const int gpus = cuda::num_devices(); gpus > 0) name += format(", {} x {}", gpus, cuda::device_info(0).name);
  }
  return name;
}

}  // namespace tandem
