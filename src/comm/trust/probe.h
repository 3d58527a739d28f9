#pragma once
// Finds out whether GPUs may write into each other's memory, and how fast they do. Needs CUDA: builds without it have
// no definitions of these.

#include <chrono>
#include <vector>

#include "comm/push/probe_kernels.h"
#include "comm/trust/machine_snapshot.h"

namespace tandem {

struct ProbeOptions {
  /// Of each lane. In each, a pair exchanges 256 tagged and 256 sentinel packets and four chunks of 1 KB each way.
  std::uint32_t rounds = kEmulatedGpus ? 20 : 4000;
  std::chrono::milliseconds wait_timeout{250};     ///< of a lane for one message
  std::chrono::milliseconds launch_timeout{2000};  ///< of the kernels of one probe; then they are told to leave
  bool measure = true;                             ///< latency and bandwidth, too
  ProbeFault fault = {};                           ///< for tests, in what GPU `fault_from` of the list sends
  int fault_from = 0;
};

/// Every ordered pair of `devices`, at [from * devices.size() + to]: first each pair alone, then all that passed at
/// once, while they also push bulk data. Waits for the result; no wait is without a deadline. Takes some 30 ms a pair.
/// Throws on devices that do not exist, come twice or are too many, and when memory does not suffice.
std::vector<ProbeResult> probe_pairs(const std::vector<int>& devices, const ProbeOptions& options = {});

}  // namespace tandem
