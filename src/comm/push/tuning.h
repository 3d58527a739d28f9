#pragma once
// How p2p and native carry calls on a machine where that was measured: plain data, in place of the plans that are
// written down in push_plan.cc.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comm/call.h"

namespace tandem {

enum class TunedAlgorithm { kBuiltIn, kOneShotTagged, kOneShotSentinel, kTwoShotSentinel, kRingTagged, kRingBulk };
/// Stable, in kebab-case: "built-in", "one-shot-tagged", ...
std::string_view to_string(TunedAlgorithm algorithm);

/// Of the rows of a back-end and operation, the first in the order of bounds that a call does not exceed.
struct TunedCalls {
  static constexpr std::int64_t kNoBound = std::int64_t{1} << 50;  ///< no call is larger
  std::string backend;                                             ///< "p2p" or "native"
  Collective op = Collective::kAllReduce;                          ///< of recv: see kSend
  /// Of the largest message between two ranks; of an all-reduce, of the tensor.
  std::int64_t up_to_bytes = 0;
  TunedAlgorithm algorithm = TunedAlgorithm::kBuiltIn;  ///< kBuiltIn: the plan that is written down, blocks and all
  int blocks = 0;
  bool operator==(const TunedCalls&) const = default;
};

/// The bytes of an inbox with which those rows were measured.
struct TunedInbox {
  std::string backend;
  std::int64_t bytes = 0;
  bool operator==(const TunedInbox&) const = default;
};

/// No row, no inbox: all as it is written down.
struct Tuning {
  std::vector<TunedCalls> calls = {};
  std::vector<TunedInbox> inboxes = {};
  bool operator==(const Tuning&) const = default;

  bool empty() const { return calls.empty() && inboxes.empty(); }
  /// Those of one back-end, by rising bounds.
  std::vector<TunedCalls> calls_of(std::string_view backend) const;
  /// 0: chosen.
  std::int64_t inbox_of(std::string_view backend) const;
};

}  // namespace tandem
