#pragma once
// What the steps of sharded sampling keep and tell each other, for host and device. Layouts that files for CUDA share.

#include <cstddef>
#include <cstdint>

#include "kernels/sample/sample_math.h"

namespace tandem {

/// Steps of a draw; the host knows which there are, and their order is that of this list.
enum class SampleStep {
  kStart,                              ///< no step: nothing was gathered yet
  kLargest,                            ///< the largest logit, and the first that is not finite
  kTopK,                               ///< four steps, one a level: tokens by key
  kTotal = kTopK + sampling::kLevels,  ///< the mass that top-k leaves
  kTopP,                               ///< four steps, one a level: masses by key
  kMass = kTopP + sampling::kLevels,   ///< the mass that all filters leave
  kToken,                              ///< who has the token says which
  kEnd                                 ///< no step: tokens are known
};

/// The parameters of one sequence's draw, in the device's memory.
struct SampleRow {
  std::uint64_t random = 0;  ///< a fraction of 2^64, of which the upper 53 bits are random
  float temperature = 0, top_p = 1, min_p = 0, repetition_penalty = 1;
  std::int32_t top_k = 0;  ///< 0: all
  std::int32_t num_history = 0;
};

namespace sampling {

/// 64-bit words of a row's message.
TANDEM_HD constexpr int words_of(SampleStep step) {
  const bool histogram = (step >= SampleStep::kTopK && step < SampleStep::kTotal) ||
                         (step >= SampleStep::kTopP && step < SampleStep::kMass);
  return histogram ? kBins : step == SampleStep::kLargest ? 2 : 1;
}
/// Of a step of the search, kTopK or kTopP and its level; level -1: another step.
struct SearchStep {
  SampleStep first;
  int level;
};
TANDEM_HD SearchStep search_step(SampleStep step) {
  const int k = static_cast<int>(step) - static_cast<int>(SampleStep::kTopK);
  const int p = static_cast<int>(step) - static_cast<int>(SampleStep::kTopP);
  if (0 <= k && k < kLevels) return {SampleStep::kTopK, k};
  if (0 <= p && p < kLevels) return {SampleStep::kTopP, p};
  return {step, -1};
}

TANDEM_HD bool has_top_k(const SampleRow& row, std::int64_t vocabulary) {
  return row.temperature > 0 && row.top_k > 0 && row.top_k < vocabulary;
}
TANDEM_HD bool has_top_p(const SampleRow& row) {
  return row.temperature > 0 && row.top_p < 1;
}

/// What all ranks know of a row, but for the last two, which are this rank's. Without initialisers, as it lies in
/// shared memory too.
struct State {
  std::uint64_t best;       ///< place_of the largest logit
  std::uint64_t first_bad;  ///< kAllFinite less the first token whose logit is not finite; 0: there is none
  std::uint64_t need;       ///< of the search: the amount to reach among the keys that begin with `prefix`
  std::uint32_t prefix;
  std::uint32_t least;   ///< the least key that is kept
  std::uint64_t ties;    ///< how many tokens of that key this rank keeps: the lowest
  std::uint64_t target;  ///< the mass before the token, of this rank's; kAll: another rank has it
};

TANDEM_HD float largest_of(const State& s) {
  return logit_of(key_at(s.best));
}
TANDEM_HD float weight_in(const State& s, const SampleRow& row, std::uint32_t key) {
  return weight_of(key, largest_of(s), row.temperature);
}
/// What the filter min-p leaves of it.
TANDEM_HD std::uint64_t mass_in(const State& s, const SampleRow& row, std::uint32_t key) {
  const float weight = weight_in(s, row, key);
  return weight >= row.min_p ? mass_of(weight) : 0;
}
/// What a key adds to its bin in a step of the search.
TANDEM_HD std::uint64_t amount_in(const State& s, const SampleRow& row, SearchStep step, std::uint32_t key) {
  if (key < s.least || !matches(key, s.prefix, step.level)) return 0;
  return step.first == SampleStep::kTopK ? 1 : mass_of(weight_in(s, row, key));
}

TANDEM_HD State state_after_largest(const SampleRow& row, std::uint64_t best, std::uint64_t first_bad) {
  return {.best = best,
          .first_bad = first_bad,
          .need = static_cast<std::uint64_t>(row.top_k),
          .prefix = 0,
          .least = 0,
          .ties = kAll,
          .target = kAll};
}
TANDEM_HD void take_total(State& s, const SampleRow& row, std::uint64_t total) {
  if (!has_top_p(row)) return;
  s.prefix = 0;
  s.need = mass_to_reach(row.top_p, total);
}
/// The bin that holds the key in question, and the amount in the bins above it.
TANDEM_HD void take_bin(State& s, int level, int bin, std::uint64_t above) {
  s.prefix |= static_cast<std::uint32_t>(bin) << (24 - 8 * level);
  s.need -= above;
}
TANDEM_HD void end_top_k(State& s) {
  s.least = s.prefix;
}
/// `mass_below`: what ranks below this one have of the key.
TANDEM_HD void end_top_p(State& s, const SampleRow& row, std::uint64_t mass_below) {
  s.least = s.prefix;
  const std::uint64_t each = mass_of(weight_in(s, row, s.least));
  if (each == 0) return;  // no finite logits: any token will do
  const std::uint64_t tokens = (s.need + each - 1) / each, below = mass_below / each;
  s.ties = tokens > below ? tokens - below : 0;
}
/// `below`, `own`: the masses of the ranks below this one, and its own.
TANDEM_HD void take_masses(State& s, const SampleRow& row, std::uint64_t total, std::uint64_t below,
                           std::uint64_t own) {
  const std::uint64_t target = multiply_high(row.random, total);
  s.target = below <= target && target - below < own ? target - below : kAll;
}
/// `found`: 1 + the token, from the rank that has it.
TANDEM_HD std::int32_t token_of(const State& s, const SampleRow& row, std::uint64_t found) {
  if (s.first_bad != 0) return static_cast<std::int32_t>(s.first_bad) - kAllFinite - 1;
  if (row.temperature == 0 || found == 0) return token_at(s.best);
  return static_cast<std::int32_t>(found - 1);
}

}  // namespace sampling
}  // namespace tandem
