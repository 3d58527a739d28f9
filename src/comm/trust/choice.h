#pragma once
// Which back-end serves which call, as a function of what is known of the machine and of nothing else: a choice can be
// replayed from a snapshot, tested without the machine, and explained.

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/trust/machine_snapshot.h"

namespace tandem {

/// Why a back-end does not serve.
enum class Reason {
  kNoGpu,         ///< the ranks are CPUs
  kGpuRanks,      ///< of cpu: the ranks are GPUs
  kMig,           ///< a slice of a GPU has no peers
  kSharedGpu,     ///< of nccl: two ranks have one GPU
  kCorrupt,       ///< of p2p, as the following: a pair failed its probe
  kOutOfOrder,    ///< see ProbeOutcome
  kMessageLost,   ///< see ProbeOutcome
  kMapFailed,     ///< see ProbeOutcome
  kNoPeerAccess,  ///< the driver gives no pair access
  kPartialMesh,   ///< the driver gives some pairs access
  kNotProbed,     ///< nobody has verified the pairs
  kNcclMissing,   ///< there is no NCCL that we can use
  kFailed,        ///< it was tried and does not work here
  kSlower,        ///< it could serve, and is nowhere the fastest
  kNotMeasured,   ///< it could serve, and others that were measured, or come first, do
  kForcedOther,   ///< it could serve, and the user named another
};
/// Stable, in kebab-case: "no-gpu", "message-lost", ...
std::string_view to_string(Reason reason);
/// What one can do about it, a sentence; empty: nothing is amiss.
std::string_view advice(Reason reason);

struct Rejection {
  std::string backend;
  Reason reason;
  std::string detail;  ///< a sentence with the numbers
};

/// Whether the driver's word on peer access is enough for p2p.
enum class Evidence { kProbed, kClaimed };

/// Why `backend` cannot serve this group whatever its speed; nullopt: it can. p2p needs every ordered pair: on a
/// partial mesh it cannot serve.
std::optional<Rejection> why_not(const MachineSnapshot& machine, std::string_view backend, Evidence evidence);

/// Whether the driver gives the pair access, by its word and as the probe found.
bool has_access(const PairFacts& pair);

/// Of the pairs that `select` takes, those with the same story together:
/// "cuda:0 -> cuda:2, cuda:2 -> cuda:0: corrupt in 4096 rounds over PHB; cuda:0 -> cuda:1: ..."
std::string describe_pairs(const MachineSnapshot& machine, const std::function<bool(const PairFacts&)>& select);

/// One operation: the first row whose bound a call does not exceed names its back-end. The last row has no bound.
struct OpPlan {
  struct Row {
    std::int64_t up_to_bytes;  ///< as `tandem bench comm` counts them: of the whole tensor
    std::string backend;
    bool operator==(const Row&) const = default;
  };
  static constexpr std::int64_t kNoBound = std::numeric_limits<std::int64_t>::max();
  Collective op;
  bool measured = false;  ///< false: the order of preference decided
  std::vector<Row> rows;
};
/// "p2p up to 2 MB, nccl above"
std::string describe(const OpPlan& plan);

struct Choice {
  std::string wanted;
  std::vector<OpPlan> plans;  ///< of every operation but recv, which goes where its send goes
  std::vector<Rejection> rejected;
  std::vector<std::string> facts;  ///< of the machine, a line each

  const std::string& backend_for(Collective op, std::int64_t bytes) const;
  /// Those that the plans name, best first.
  std::vector<std::string> used() const;
  /// For the log and for people: facts, rejections and plans, a line each.
  std::vector<std::string> log_lines() const;
};

/// `wanted` is "auto" or the name of a back-end. Of those that can serve, the fastest measured one gets each operation
/// and size: between two measured sizes the bound is their geometric mean, and from one size to the next a back-end
/// stays unless another is faster by more than 3 %. Only back-ends that were measured at a size compete for it; where
/// nothing was measured the order is p2p, nccl, native. Deterministic.
///
/// Throws kInvalidArgument for a name that it does not know (listing the known ones), and kUnsupported when the
/// back-end that is wanted cannot serve, with each failing pair, its reason, and what would work. No fallback.
Choice choose_backends(const MachineSnapshot& machine, std::string_view wanted);

}  // namespace tandem
