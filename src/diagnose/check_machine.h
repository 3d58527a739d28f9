#pragma once
// `tandem check` without a model: what there is on this machine for ranks to communicate with, and whether it works.

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/trust/choice.h"
#include "comm/trust/machine_snapshot.h"
#include "device/device.h"

namespace tandem {

/// Something that the user may want to mend. That the driver of GeForce cards gives no peer access is none, nor that a
/// library is not installed: the choice says so and goes on.
struct Finding {
  std::string code;  ///< stable: a reason's, or "nvlink-without-access", "no-nvml", "back-end-refused"
  bool fails;        ///< something does not work, or gives wrong results; else a warning
  std::string what;
  std::string advice;
};

struct MachineReport {
  MachineSnapshot machine;
  std::string wanted;            ///< "auto", or the back-end that was named
  std::optional<Choice> choice;  ///< nullopt: nothing can serve, or not what was named
  std::vector<Finding> findings;
  bool healthy() const { return findings.empty(); }
};

/// A snapshot of this machine. Between CPU ranks every collective is run on two sizes, its results compared bit for
/// bit, its times recorded. `on_step` (may be empty) is told what comes next, for people who wait.
MachineSnapshot check_machine(std::span<const Device> devices, double timeout_s,
                              const std::function<void(std::string_view)>& on_step = {});

/// What follows from a snapshot, of whatever machine. Throws kInvalidArgument for a back-end that it does not know.
MachineReport report_on(const MachineSnapshot& machine, std::string_view wanted);

/// Tables for people.
std::string format_report(const MachineReport& report);
/// The same as JSON text, the snapshot in it.
std::string report_json(const MachineReport& report);

}  // namespace tandem
