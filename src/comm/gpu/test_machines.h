#pragma once
// Groups on GPUs, for tests: ranks beyond the GPUs that are there share them, which no user may.

#include <memory>
#include <string>
#include <vector>

#include "comm/nccl/nccl_api.h"
#include "comm/trust/facts.h"
#include "comm/trust/machine_snapshot.h"
#include "device/cuda/runtime.h"

namespace tandem {

inline std::vector<Device> devices_of_ranks(int world_size) {
  std::vector<Device> devices;
  for (int r = 0; r < world_size; ++r) devices.push_back({DeviceKind::kCuda, r % cuda::num_devices()});
  return devices;
}

/// Every link is whole, and the faster of two back-ends changes from size to size: below 256 bytes, 2 KB, 16 KB, above.
inline std::shared_ptr<const MachineSnapshot> mixed_machine(const std::vector<Device>& devices,
                                                            const std::string& first, const std::string& second) {
  MachineSnapshot machine = gather_facts(devices);
  for (PairFacts& pair : machine.pairs) pair.probe.outcome = ProbeOutcome::kPassed;
  for (const Collective op : {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter,
                              Collective::kBroadcast, Collective::kGather, Collective::kSend}) {
    bool second_wins = op == Collective::kAllGather;
    for (const std::int64_t bytes : {64, 1024, 4096, 65536}) {
      machine.calls.push_back({.backend = first, .op = op, .bytes = bytes, .microseconds = second_wins ? 2.0 : 1.0});
      machine.calls.push_back({.backend = second, .op = op, .bytes = bytes, .microseconds = second_wins ? 1.0 : 2.0});
      second_wins = !second_wins;
    }
  }
  return std::make_shared<MachineSnapshot>(machine);
}

/// Why there can be no group of so many ranks, of which NCCL serves each with a GPU of its own; empty: there can.
inline std::string why_no_nccl(int world_size) {
  if (const int num_devices = cuda::num_devices(); num_devices < world_size) {
    return format("needs {} GPUs, here are {}", world_size, num_devices);
  }
  try {
    nccl();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace tandem
