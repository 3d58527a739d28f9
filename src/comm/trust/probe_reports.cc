#include "comm/trust/probe_reports.h"

#include "base/format.h"

namespace tandem {
namespace {

std::string describe(const ProbeGrid& grid, std::int64_t lane, const ProbeReport& report) {
  const std::int64_t block = lane / grid.threads;
  const auto form = static_cast<ProbeForm>(block % kProbeForms);
  const std::string when = report.outcome == ProbeOutcome::kLost         ? " at the deadline"
                           : report.outcome == ProbeOutcome::kOutOfOrder ? " where it was said to be there"
                                                                         : "";
  if (report.index == kProbeFlag) {
    return format("bulk: flag of block {} shows {}, not {}{}", block, report.seen, report.expected, when);
  }
  const std::string what = form == ProbeForm::kBulk ? format("bulk: block {}, pack {}", block, report.index)
                                                    : format("{} packets: lane {}",
                                                             form == ProbeForm::kTagged ? "tagged" : "sentinel", lane);
  return format("{}, round {}: word {} is {:#010x}, not {:#010x}{}", what, report.round, report.word, report.seen,
                report.expected, when);
}

}  // namespace

ProbeResult judge_pair(const ProbeGrid& grid, const ProbePlan& plan, int from, int to,
                       std::span<const ProbeReport> found, std::span<const ProbeReport> sent) {
  ProbeResult result;
  bool all_rounds = true;
  std::int64_t failures = 0, first_lane = 0;
  const ProbeReport* first = nullptr;
  for (std::int64_t lane = 0; lane < grid.num_lanes(); ++lane) {
    const ProbeReport& report = found[static_cast<std::size_t>(from * grid.num_lanes() + lane)];
    const bool bulk = lane / grid.threads % kProbeForms == static_cast<int>(ProbeForm::kBulk);
    if (!bulk || lane % grid.threads == 0) result.rounds += report.rounds;
    all_rounds = all_rounds && report.rounds == plan.rounds;
    if (report.failures == 0) continue;
    const bool was_sent = sent[static_cast<std::size_t>(to * grid.num_lanes() + lane)].sent >= report.round;
    if (report.outcome == ProbeOutcome::kLost && !was_sent) continue;
    failures += report.failures;
    if (first == nullptr || report.round < first->round) {
      first = &report;
      first_lane = lane;
    }
  }
  if (first != nullptr) {
    result.outcome = first->outcome;
    result.detail =
        format("{}; {} failures in {} messages", describe(grid, first_lane, *first), failures, result.rounds);
  } else {
    result.outcome = all_rounds ? ProbeOutcome::kPassed : ProbeOutcome::kNotTried;
  }
  return result;
}

}  // namespace tandem
