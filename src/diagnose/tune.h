#pragma once
// `tandem tune`: by which algorithm, in how many blocks and through how large inboxes p2p and native are fastest on
// this machine, and which back-end then is. Every result is checked as it is measured.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/push/push_plan.h"
#include "comm/trust/machine_snapshot.h"
#include "device/device.h"

namespace tandem {

/// How long a call is measured.
struct TuneEffort {
  int calls, samples;
};

/// Times calls of one back-end under one tuning.
class CallTimer {
 public:
  virtual ~CallTimer() = default;
  /// Microseconds of a call, a sample each. `bytes`: of the whole tensor, bf16. Throws for wrong results and for calls
  /// that fail; then this timer is of no use any more.
  virtual std::vector<double> time(Collective op, std::int64_t bytes, TuneEffort effort) = 0;
};
using MakeTimer = std::function<std::unique_ptr<CallTimer>(const std::string& backend, const Tuning& tuning)>;

struct TuneParameters {
  std::vector<Collective> ops;      ///< of tunable_ops()
  std::vector<std::int64_t> sizes;  ///< of the whole tensor, rising; at least two bytes for each rank
  std::int64_t inbox_bytes = 0;     ///< named by the user, and not tuned then; 0: tuned
};

/// What was chosen for one operation and size, and what it was compared with.
struct TunedSize {
  std::string backend;
  Collective op = Collective::kAllReduce;
  std::int64_t bytes = 0;
  TunedAlgorithm algorithm = TunedAlgorithm::kBuiltIn;  ///< that is used, be it the built-in one
  int blocks = 0;
  bool built_in = true;     ///< no other is faster by more than 3 %
  double microseconds = 0;  ///< of what was chosen
  double built_in_us = 0;   ///< side by side with it
  int num_candidates = 0;   ///< beside the built-in plan
};

/// What gave wrong results or failed; nothing of it is chosen.
struct TuneFinding {
  std::string backend;
  std::string what;  ///< "ring-bulk in 4 blocks, all-reduce of 65536 bytes"
  std::string error;
};

struct TuneResult {
  MachineSnapshot profile;  ///< facts and probe as given, and tuning and calls as measured
  std::vector<TunedSize> sizes;
  std::vector<TuneFinding> findings;
};

/// Those whose plans can be tuned: all that calibrate() measures.
std::span<const Collective> tunable_ops();
/// "all_reduce", ... Throws kInvalidArgument for a name that is none, with those that are.
Collective parse_tunable_op(std::string_view name);

/// 1 KB to 64 MB in steps of four.
std::vector<std::int64_t> default_tune_sizes();

/// All plans but the built-in one that may carry such a call within the limits: each algorithm in 1, 2, 4, ... blocks,
/// none with less than a warp of packs or more than 4 MB a block. Of `limits.tuned` nothing is used.
std::vector<TunedCalls> tune_candidates(const PushLimits& limits, Collective op, std::int64_t bytes);

/// The largest message between two ranks in such a call, of bf16: what plans go by.
std::int64_t message_bytes(Collective op, std::int64_t bytes, int world_size);

/// `machine`: facts and probe. For each of p2p and native that can serve: inboxes; then every candidate of each
/// operation and size shortly, and the best three and the built-in plan, in turn, longer. A candidate that is not
/// faster than the built-in plan by more than 3 % is not chosen: the best of many noisy ones always looks faster. Then
/// every back-end is measured with what was chosen. `on_step` (may be empty) is told what comes next, and may throw.
/// Throws what on_step throws, and of timers kCancelled, and kOutOfMemory of the built-in plan; a back-end that fails
/// is marked in the profile.
TuneResult tune(const MachineSnapshot& machine, const TuneParameters& parameters, const MakeTimer& make_timer,
                const std::function<void(std::string_view)>& on_step = {});

/// The same on this machine's GPUs, two or more: facts, probe, and tune(). Needs CUDA.
TuneResult tune_devices(std::span<const Device> devices, const TuneParameters& parameters, double timeout_s,
                        const std::function<void(std::string_view)>& on_step);

/// Tables for people.
std::string format_tune(const TuneResult& result);
/// The same as JSON text, the profile in it. `stored`: the profile's file; empty: it was not stored.
std::string tune_json(const TuneResult& result, std::string_view stored);

}  // namespace tandem
