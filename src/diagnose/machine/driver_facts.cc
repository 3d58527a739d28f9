#include <algorithm>

#include "base/error.h"
#include "comm/nccl/nccl_api.h"
#include "device/cuda/runtime.h"
#include "device/device.h"
#include "diagnose/machine/collectors.h"

namespace tandem {
namespace {

// "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build ..."
void read_version(std::string_view line, DriverFacts& driver) {
  driver.flavour = line.find("Open Kernel Module") != line.npos ? "open" : "proprietary";
  for (const std::string_view word : words(line)) {
    const bool is_version = word.find('.') != word.npos && word.find_first_not_of("0123456789.") == word.npos;
    if (is_version && driver.version.empty()) driver.version = word;
  }
}

}  // namespace

void collect_driver(const SystemFiles& files, DriverFacts& driver) {
  const std::string version = files.line("/proc/driver/nvidia/version");
  if (version.starts_with("NVRM version:")) read_version(version, driver);
  if (driver.version.empty()) driver.version = files.line("/sys/module/nvidia/version");
  const std::string parameters = files.read("/proc/driver/nvidia/params").value_or("");
  for (const std::string_view line : split(parameters, '\n')) {
    const std::size_t colon = line.find(':');
    if (colon == line.npos || driver.parameters.size() == kMaxListedFacts) continue;
    std::string_view value = trimmed(line.substr(colon + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    driver.parameters[std::string(trimmed(line.substr(0, colon)))] = value;
  }
}

void collect_libraries(const SystemFiles& files, DriverFacts& driver) {
  if (!files.is_ours()) {
    driver.no_cuda = driver.nccl = "not asked: the facts are of another root";
    return;
  }
  if constexpr (kBuiltWithCuda) {
    driver.built_for_cuda = cuda::built_for();
    driver.cuda_version = cuda::driver_serves();
    cuda::num_devices(&driver.no_cuda);
    try {
      driver.nccl = nccl_version_text(nccl().version_code);
      driver.nccl_found = true;
    } catch (const Error& error) {
      driver.nccl = error.what();
      std::replace(driver.nccl.begin(), driver.nccl.end(), '\n', ' ');
      driver.nccl_found = false;
    }
  } else {
    driver.no_cuda = driver.nccl = "this build has no CUDA";
  }
}

}  // namespace tandem
