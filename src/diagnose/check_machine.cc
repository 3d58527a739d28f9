#include "diagnose/check_machine.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/median.h"
#include "comm/communicator.h"
#include "comm/measure.h"
#include "comm/trust/record.h"

namespace tandem {
namespace {

constexpr std::array kFailures = {ProbeOutcome::kCorrupt, ProbeOutcome::kOutOfOrder, ProbeOutcome::kLost,
                                  ProbeOutcome::kMapFailed};
constexpr std::array kReasons = {Reason::kCorrupt, Reason::kOutOfOrder, Reason::kMessageLost, Reason::kMapFailed};

constexpr std::array kChecked = {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter,
                                 Collective::kBroadcast, Collective::kGather};

// The CPU's own calibration.
void run_on_cpus(std::span<const Device> devices, double timeout_s, MachineSnapshot& machine) {
  BackendFacts& cpu = machine.backends.front();
  const std::chrono::nanoseconds timeout(static_cast<std::int64_t>(timeout_s * 1e9));
  RankTeam team({.world_size = static_cast<int>(devices.size()), .backend = "cpu", .timeout = timeout});
  for (const Collective op : kChecked) {
    for (const std::int64_t bytes : {4 << 10, 256 << 10}) {
      try {
        const CallTimes times =
            measure_collective(team, {.op = op, .dtype = DType::kF32, .bytes = bytes, .calls = 10, .samples = 3});
        machine.calls.push_back(
            {.backend = "cpu", .op = op, .bytes = bytes, .microseconds = median(times.microseconds)});
      } catch (const Error& error) {
        if (error.kind() == ErrorKind::kCancelled) throw;
        cpu.works = false;
        cpu.detail = format("{} of {} bytes: {}", to_string(op), bytes, error.what());
        return;
      }
    }
  }
  cpu.detail = format("{} collectives between {} ranks, of 4 KB and 256 KB, gave exact results", kChecked.size(),
                      devices.size());
}

void find_in_pairs(const MachineSnapshot& machine, std::vector<Finding>& findings) {
  for (std::size_t i = 0; i < kFailures.size(); ++i) {
    const std::string failed =
        describe_pairs(machine, [&](const PairFacts& pair) { return pair.probe.outcome == kFailures[i]; });
    if (failed.empty()) continue;
    findings.push_back({std::string(to_string(kReasons[i])), true, failed, std::string(advice(kReasons[i]))});
  }
  const std::string idle_links =
      describe_pairs(machine, [](const PairFacts& pair) { return pair.link.starts_with("NV") && !has_access(pair); });
  if (!idle_links.empty()) {
    findings.push_back({"nvlink-without-access", false, idle_links,
                        "GPUs with NVLink between them are peers as a rule: machines with NVSwitch need their fabric "
                        "manager (systemctl status nvidia-fabricmanager), containers all GPUs of a link"});
  }
}

void find_in_gpus(const MachineSnapshot& machine, std::vector<Finding>& findings) {
  if (machine.gpus.empty()) return;
  std::string sliced;
  for (const GpuFacts& gpu : machine.gpus) {
    if (gpu.is_mig) sliced += format("{}cuda:{} ({})", sliced.empty() ? "" : ", ", gpu.index, gpu.name);
  }
  if (!sliced.empty() && machine.gpus.size() > 1) {
    findings.push_back({"mig", false, sliced + " in MIG mode: no peers, and no NCCL between slices",
                        std::string(advice(Reason::kMig))});
  }
  if (!machine.no_nvml.empty()) {
    findings.push_back({"no-nvml", false, "links and MIG mode are not known: " + machine.no_nvml,
                        "libnvidia-ml.so.1 is part of the driver; a container needs NVIDIA_DRIVER_CAPABILITIES to "
                        "contain utility"});
  }
}

}  // namespace

MachineSnapshot check_machine(std::span<const Device> devices, double timeout_s,
                              const std::function<void(std::string_view)>& on_step) {
  Measurements measurements = own_measurements(devices);
  if (devices.front().is_cpu()) {
    measurements.calibrate = [&](std::span<const Device> cpus, MachineSnapshot& machine) {
      run_on_cpus(cpus, timeout_s, machine);
    };
  }
  const auto announced = [&](const char* what, const Measurements::Function& measure) -> Measurements::Function {
    if (!measure || !on_step) return measure;
    return [=, &on_step](std::span<const Device> which, MachineSnapshot& machine) {
      on_step(what);
      measure(which, machine);
    };
  };
  return record_snapshot(devices, {.probe = announced("probing the links", measurements.probe),
                                   .calibrate = announced("measuring the back-ends", measurements.calibrate)});
}

MachineReport report_on(const MachineSnapshot& machine, std::string_view wanted) {
  MachineReport report{.machine = machine, .wanted = std::string(wanted), .choice = std::nullopt, .findings = {}};
  find_in_pairs(machine, report.findings);
  find_in_gpus(machine, report.findings);
  try {
    report.choice = choose_backends(machine, wanted);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kUnsupported) throw;
    report.findings.push_back({"back-end-refused", true, error.what(), error.hint()});
  }
  return report;
}

}  // namespace tandem
