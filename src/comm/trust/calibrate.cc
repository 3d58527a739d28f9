#include "comm/trust/calibrate.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/median.h"
#include "comm/communicator.h"
#include "comm/measure.h"
#include "comm/trust/choice.h"

namespace tandem {
namespace {

constexpr Collective kOps[] = {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter,
                               Collective::kBroadcast, Collective::kGather};
// A token's activations are 2 to 64 KB, a prompt's some MB. What is true of 16 MB is true above.
constexpr std::int64_t kSizes[] = {2 << 10, 16 << 10, 128 << 10, 1 << 20, 4 << 20, 16 << 20};
constexpr int kCalls = 10;
constexpr int kSamples = 5;

void measure_backend(std::span<const Device> devices, MachineSnapshot& machine, const std::string& backend) {
  RankTeam team({.world_size = static_cast<int>(devices.size()),
                 .backend = backend,
                 .devices = {devices.begin(), devices.end()},
                 .machine = std::make_shared<MachineSnapshot>(machine)});
  for (const Collective op : kOps) {
    for (const std::int64_t bytes : kSizes) {
      const CallTimes times =
          measure_collective(team, {.op = op, .bytes = bytes, .calls = kCalls, .samples = kSamples});
      machine.calls.push_back(
          {.backend = backend, .op = op, .bytes = bytes, .microseconds = median(times.microseconds)});
    }
  }
}

}  // namespace

std::span<const Collective> calibrated_ops() {
  return kOps;
}

std::span<const std::int64_t> calibrated_sizes() {
  return kSizes;
}

void calibrate(std::span<const Device> devices, MachineSnapshot& machine) {
  machine.calls.clear();
  if (devices.size() < 2) return;
  for (const std::string& backend : backend_names()) {
    if (why_not(machine, backend, Evidence::kProbed)) continue;
    try {
      measure_backend(devices, machine, backend);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kCancelled) throw;
      std::erase_if(machine.calls, [&](const MeasuredCall& call) { return call.backend == backend; });
      std::erase_if(machine.backends, [&](const BackendFacts& facts) { return facts.name == backend; });
      machine.backends.push_back({.name = backend, .works = false, .detail = error.what()});
    }
  }
}

}  // namespace tandem
