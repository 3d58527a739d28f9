#include "comm/trust/machine_snapshot.h"

#include "base/format.h"

namespace tandem {

std::string_view to_string(ProbeOutcome outcome) {
  static constexpr std::string_view kNames[] = {"not-probed",   "passed",  "no-peer-access", "map-failed",
                                                "message-lost", "corrupt", "out-of-order"};
  return kNames[static_cast<int>(outcome)];
}

std::string pair_name(const MachineSnapshot& machine, const PairFacts& pair) {
  return format("cuda:{} -> cuda:{}", machine.gpus[static_cast<std::size_t>(pair.from)].index,
                machine.gpus[static_cast<std::size_t>(pair.to)].index);
}

}  // namespace tandem
