#pragma once
// From what lanes found (comm/protocol/probe.h) to what is said of a pair.

#include <span>

#include "comm/protocol/probe.h"
#include "comm/trust/machine_snapshot.h"

namespace tandem {

/// The grid of a probe, the same on all ranks.
struct ProbeGrid {
  int world_size = 2;
  int blocks = kProbeForms;
  int threads = 1;  ///< of a block
  std::int64_t num_lanes() const { return std::int64_t{blocks} * threads; }
  std::size_t num_reports() const { return static_cast<std::size_t>(world_size * num_lanes()); }
};

/// What `to` found of the messages of `from`. `found` and `sent`: all reports of `to` and of `from`, whose kernels have
/// ended. A message that is missing is lost only if its sender came so far as to send it. Not tried: no failure, but
/// not all rounds either, since a lane waited for a peer that had ended.
ProbeResult judge_pair(const ProbeGrid& grid, const ProbePlan& plan, int from, int to,
                       std::span<const ProbeReport> found, std::span<const ProbeReport> sent);

}  // namespace tandem
