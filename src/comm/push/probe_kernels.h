#pragma once
// Launchers of the probe's kernels. They queue and do not wait; they return a cudaError_t.

#include "comm/protocol/probe.h"
#include "comm/push/push_device.h"

namespace tandem {

/// What tests plant into the messages of a rank, to see it found.
struct ProbeFault {
  enum class Kind : std::int32_t {
    kNone,
    kDrop,       ///< packs do not go
    kFlip,       ///< packs go with one bit turned over
    kOvertaken,  ///< packs go some time after the flag of their chunk
  };
  Kind kind = Kind::kNone;
  int to = 0;                ///< of the messages to this rank
  std::uint32_t one_in = 1;  ///< of the packs that go there
};

/// See probe_links. `reports` as the GPU names them. Any fault makes for another kernel.
int launch_probe(const PushRank& rank, const PushLaunch& launch, const ProbePlan& plan, const ProbeFault& fault,
                 ProbeReport* reports);

/// See ping_pong; plan.first_round and `kWarmUpRounds` before it do not count. `nanoseconds`: of the others, one way;
/// not written if one did not come.
inline constexpr std::uint32_t kWarmUpRounds = 100;
int launch_ping_pong(const PushRank& rank, void* stream, const ProbePlan& plan, int peer, double* nanoseconds);

/// Writes all of `area` in the inbox of `to`, `passes` times over, with as many lanes as fill a link.
int launch_push_load(const PushRank& rank, const PushLaunch& launch, int to, const Area& area, int passes);

/// Loads every kernel on the current device; see load_push_kernels.
int load_probe_kernels();

}  // namespace tandem
