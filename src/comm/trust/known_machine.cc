#include "comm/trust/known_machine.h"

#include <map>
#include <mutex>
#include <vector>

#include "comm/trust/facts.h"
#include "comm/trust/profile.h"
#include "comm/trust/record.h"

namespace tandem {
namespace {

/// What is known at one depth. Each has a lock of its own: what goes deeper asks for what is above it.
struct Known {
  std::mutex mutex;
  std::map<std::vector<int>, std::shared_ptr<const MachineSnapshot>> machines;  // by the devices' numbers
};

MachineSnapshot look(std::span<const Device> devices, Knowledge knowledge) {
  if (knowledge == Knowledge::kFacts) {
    MachineSnapshot facts = gather_facts(devices), recalled = facts;
    if (recall_profile(recalled)) facts.tuning = recalled.tuning;
    facts.profile = recalled.profile;
    return facts;
  }
  const Measurements measurements = own_measurements(devices);
  const bool probes = knowledge == Knowledge::kProbed;
  MachineSnapshot machine = *known_machine(devices, probes ? Knowledge::kFacts : Knowledge::kProbed);
  const Measurements::Function& measure = probes ? measurements.probe : measurements.calibrate;
  if (measure) measure(devices, machine);
  return machine;
}

}  // namespace

std::shared_ptr<const MachineSnapshot> known_machine(std::span<const Device> devices, Knowledge knowledge) {
  static Known known[3];
  Known& here = known[static_cast<int>(knowledge)];
  std::vector<int> key;
  for (const Device device : devices) key.push_back(device.is_cpu() ? -1 : device.index);
  const std::lock_guard lock(here.mutex);
  std::shared_ptr<const MachineSnapshot>& machine = here.machines[key];
  if (!machine) machine = std::make_shared<MachineSnapshot>(look(devices, knowledge));
  return machine;
}

}  // namespace tandem
