#include "comm/trust/record.h"

#include "comm/trust/facts.h"

namespace tandem {

// The one place where probe and calibration join the rest.
Measurements own_measurements(std::span<const Device>) {
  return {};
}

MachineSnapshot record_snapshot(std::span<const Device> devices, const Measurements& measurements) {
  MachineSnapshot machine = gather_facts(devices);
  if (measurements.probe) measurements.probe(devices, machine);
  if (measurements.calibrate) measurements.calibrate(devices, machine);
  return machine;
}

}  // namespace tandem
