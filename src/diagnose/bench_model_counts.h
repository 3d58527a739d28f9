#pragma once
// What bench_model() counts, apart from what it measures; for its tests.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "diagnose/bench_model.h"
#include "model/open_model.h"

namespace tandem {

/// The matrices that a decode step reads on one rank: bytes of each, in the order of the step.
struct RankReads {
  std::vector<std::size_t> bytes;
  std::size_t total = 0;
};
/// Of experts, a step of `batch` tokens reads as many as it picks, at most all.
RankReads reads_of(const OpenedModel& opened, const RankShard& shard, int batch);

/// Multiply-adds of a prompt, two operations each: every matrix once a token, the output once, attention not counted.
double flops_of(const OpenedModel& opened, std::int64_t tokens);

/// Median over samples of work / seconds / rate. The speed of a shared machine changes between samples by more than
/// what is to be seen; a sample and the rate measured round it change together.
double median_share(double work, const Samples& seconds, const Samples& rates);

}  // namespace tandem
