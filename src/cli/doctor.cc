// `tandem doctor`: what is wrong with this machine, or one that was recorded, why, and what mends it.
#include "base/error.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/devices.h"
#include "cli/output.h"
#include "diagnose/check_machine.h"
#include "diagnose/doctor/doctor_report.h"
#include "diagnose/machine/facts_json.h"
#include "diagnose/machine/gather_facts.h"

namespace tandem::cli {
namespace {

MachineFacts recorded(const DoctorOptions& options, const Settings& settings) {
  if (settings.value("devices").origin.starts_with("flag")) {
    fail_with_hint(ErrorKind::kInvalidArgument, "--from and --devices: a snapshot has devices of its own",
                   format("leave one of them out; the snapshot is {}", options.from_file));
  }
  return read_machine_facts(options.from_file);
}

MachineFacts looked_at(const DoctorOptions& options, const Settings& settings) {
  StatusLine status;
  status.show("looking at the machine");
  MachineFacts facts = gather_machine_facts();
  if (!facts.driver.no_cuda.empty()) {
    facts.fabric.no_gpus = facts.driver.no_cuda;
    return facts;
  }
  const std::vector<Device> devices = devices_to_check(settings);
  if (options.no_probe || devices.front().is_cpu()) return facts;
  try {
    facts.fabric =
        check_machine(devices, settings.number("timeout"), [&](std::string_view step) { status.show(step); });
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) throw;
    facts.unread.push_back({"the links between the GPUs", error.what()});  // the rest may well say why
  }
  return facts;
}

}  // namespace

int doctor_command(const DoctorOptions& options, const Settings& settings) {
  MachineFacts facts = options.from_file.empty() ? looked_at(options, settings) : recorded(options, settings);
  if (options.supply_watts) facts.supply_watts = options.supply_watts;
  if (!options.snapshot_file.empty()) write_file(options.snapshot_file, machine_facts_json(redacted(facts)));
  const Diagnosis diagnosis = diagnose(facts);
  const ReportStyle style{.colour = stdout_takes_colour()};
  std::optional<WhyNot> why;
  if (!options.why_not.empty()) why = explain_why_not(facts, diagnosis, options.why_not);
  if (options.json) {
    write_stdout(doctor_json(facts, diagnosis, why ? &*why : nullptr) + "\n");
  } else if (why || options.fix_plan) {
    write_stdout((why ? format_why_not(*why, style) + "\n" : "") +
                 (options.fix_plan ? format_fix_plan(fix_plan(diagnosis)) + "\n" : "") + verdict(facts, diagnosis) +
                 "\n");
  } else {
    write_stdout(format_diagnosis(facts, diagnosis, style));
  }
  return diagnosis.healthy() ? 0 : 1;
}

}  // namespace tandem::cli
