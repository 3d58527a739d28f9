#include "comm/trust/record.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "comm/trust/calibrate.h"
#include "comm/trust/facts.h"
#include "comm/trust/probe.h"
#include "comm/trust/profile.h"

namespace tandem {
namespace {

// Ranks of tests may share GPUs: each pair of GPUs is probed once.
void probe(std::span<const Device> devices, MachineSnapshot& machine) {
  if constexpr (kBuiltWithCuda) {
    std::vector<int> gpus;
    for (const Device device : devices) gpus.push_back(device.index);
    std::sort(gpus.begin(), gpus.end());
    gpus.erase(std::unique(gpus.begin(), gpus.end()), gpus.end());
    const auto place = [&](int rank) {
      const int index = machine.gpus[static_cast<std::size_t>(rank)].index;
      return static_cast<std::size_t>(std::find(gpus.begin(), gpus.end(), index) - gpus.begin());
    };
    std::vector<ProbeResult> results(gpus.size() * gpus.size());
    try {
      results = probe_pairs(gpus);
    } catch (const Error& error) {
      for (ProbeResult& result : results) result.detail = error.what();
    }
    for (PairFacts& pair : machine.pairs) {
      const std::size_t from = place(pair.from), to = place(pair.to);
      if (from != to) pair.probe = results[from * gpus.size() + to];
    }
  }
}

void recall_or_calibrate(std::span<const Device> devices, MachineSnapshot& machine) {
  if (!recall_profile(machine)) calibrate(devices, machine);
}

}  // namespace

// The one place where probe and calibration join the rest.
Measurements own_measurements(std::span<const Device> devices) {
  if (!kBuiltWithCuda || devices.size() < 2 || devices[0].is_cpu()) return {};
  return {.probe = probe, .calibrate = recall_or_calibrate};
}

MachineSnapshot record_snapshot(std::span<const Device> devices, const Measurements& measurements) {
  MachineSnapshot machine = gather_facts(devices);
  if (measurements.probe) measurements.probe(devices, machine);
  if (measurements.calibrate) measurements.calibrate(devices, machine);
  return machine;
}

}  // namespace tandem
