// `tandem check MODEL`: how a model would be split, and whether it fits. Without a model: what ranks can communicate
// with on this machine.
#include "base/error.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/devices.h"
#include "cli/load.h"
#include "cli/output.h"
#include "comm/trust/snapshot_json.h"
#include "diagnose/check_machine.h"
#include "diagnose/model_plan.h"

namespace tandem::cli {
namespace {

int check_model(const CheckOptions& options, const Settings& settings) {
  if (!options.snapshot_file.empty() || !options.replay_file.empty()) {
    fail_with_hint(ErrorKind::kInvalidArgument, "--snapshot and --replay are about the machine, not about a model",
                   "leave MODEL out");
  }
  ModelOptions load = model_options(options.model, settings);
  load.max_batch_size = options.max_batch_size;
  const ModelPlan plan = plan_model(load);
  write_stdout(options.json ? plan_json(plan) + "\n" : format_plan(plan));
  return plan.fits() ? 0 : 1;
}

MachineSnapshot replayed(const CheckOptions& options, const Settings& settings) {
  for (const char* name : {"devices", "tp"}) {
    if (settings.value(name).origin.starts_with("flag")) {
      fail_with_hint(ErrorKind::kInvalidArgument, format("--replay and --{}: a snapshot has devices of its own", name),
                     format("leave one of them out; the snapshot is {}", options.replay_file));
    }
  }
  return read_snapshot(options.replay_file);
}

MachineSnapshot looked_at(const Settings& settings) {
  StatusLine status;
  return check_machine(devices_to_check(settings), settings.number("timeout"),
                       [&](std::string_view step) { status.show(step); });
}

int check_this_machine(const CheckOptions& options, const Settings& settings) {
  const MachineSnapshot machine = options.replay_file.empty() ? looked_at(settings) : replayed(options, settings);
  if (!options.snapshot_file.empty()) write_file(options.snapshot_file, snapshot_json(machine));
  const MachineReport report = report_on(machine, settings.string("tp_backend"));
  write_stdout(options.json ? report_json(report) + "\n" : format_report(report));
  return report.healthy() ? 0 : 1;
}

}  // namespace

int check_command(const CheckOptions& options, const Settings& settings) {
  return options.model.empty() ? check_this_machine(options, settings) : check_model(options, settings);
}

}  // namespace tandem::cli
