#pragma once
// How long a collective takes. Its result is checked before and after.

#include <cstdint>
#include <vector>

#include "comm/call.h"
#include "comm/rank_team.h"

namespace tandem {

struct CallToMeasure {
  Collective op = Collective::kAllReduce;  ///< not a barrier, send or recv; with norm: rows of 8192
  DType dtype = DType::kBF16;              ///< f32, f16, bf16 or i32
  std::int64_t bytes = 0;  ///< as nccl-tests counts them: of the whole tensor; at least an element for each rank
  bool graph = true;       ///< GPUs: calls are replayed from a graph, as in a decode step, and not queued one by one
  int calls = 50;          ///< of a sample; fewer where they would take long
  int samples = 20;
};

struct CallTimes {
  int calls = 0;                     ///< of a sample
  std::vector<double> microseconds;  ///< a call, of the slowest rank; a sample each
};

/// Throws what a rank throws, kInternal for a wrong result among it, which names rank and byte.
CallTimes measure_collective(RankTeam& team, const CallToMeasure& what);

/// What bounds `native`: microseconds in which all ranks at once copy `bytes` to host memory and as many back, on GPUs,
/// the best of a few.
double measure_host_copies(RankTeam& team, std::int64_t bytes);

}  // namespace tandem
