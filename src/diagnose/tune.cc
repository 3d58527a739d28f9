#include "diagnose/tune.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <limits>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/median.h"
#include "comm/communicator.h"
#include "comm/measure.h"
#include "comm/trust/calibrate.h"
#include "comm/trust/choice.h"
#include "comm/trust/record.h"

namespace tandem {
namespace {

constexpr DType kDType = DType::kBF16;
constexpr double kWorthAChange = 1.03;  // as in choose_backends
// A sample costs little beside what comes before the first: 60 of each finalist tell 3 % in a noise of 5 %.
constexpr TuneEffort kQuick{10, 3}, kLong{50, 30}, kOfBackends{20, 7};
constexpr std::size_t kFinalists = 3;
constexpr int kPasses = 2;        // of the finalists, each in turn: so that a slow moment does not fall on one of them
constexpr int kMostFailures = 8;  // of a back-end's candidates: each may take the group's timeout
constexpr std::int64_t kLargestStripe = std::int64_t{4} << 20;
constexpr std::int64_t kLarge = std::int64_t{4} << 20;
constexpr std::int64_t kSmallest = 1 << 10, kLargest = 16 << 20;  // what is true of them is true below, and above
constexpr std::int64_t kInboxes[] = {16 << 20, 32 << 20, 64 << 20, 128 << 20, 256 << 20, 512 << 20};

constexpr TunedAlgorithm kAlgorithms[] = {TunedAlgorithm::kOneShotTagged, TunedAlgorithm::kOneShotSentinel,
                                          TunedAlgorithm::kTwoShotSentinel, TunedAlgorithm::kRingBulk};

InboxPlace place_of(const std::string& backend) {
  return backend == "p2p" ? InboxPlace::kPeerMemory : InboxPlace::kHostMemory;
}

PushLimits limits_of(const MachineSnapshot& machine, const std::string& backend, std::int64_t inbox_bytes) {
  const auto world_size = static_cast<int>(machine.gpus.size());
  PushLimits limits{.world_size = world_size,
                    .max_blocks = std::numeric_limits<int>::max(),
                    .rooms = plan_rooms(world_size, place_of(backend), inbox_bytes)};
  for (const GpuFacts& gpu : machine.gpus) limits.max_blocks = std::min(limits.max_blocks, gpu.num_sms);
  return limits;
}

// Large calls waver less, and most of the time would be theirs.
TuneEffort effort_of(TuneEffort effort, std::int64_t bytes) {
  return {bytes >= kLarge ? std::max(2, effort.calls / 5) : effort.calls, effort.samples};
}

std::string describe(const TunedCalls& candidate) {
  if (candidate.algorithm == TunedAlgorithm::kBuiltIn) return "the built-in plan";
  return format("{} in {} block{}", to_string(candidate.algorithm), candidate.blocks, candidate.blocks == 1 ? "" : "s");
}

struct Candidate {
  TunedCalls row;
  std::vector<double> samples = {};  // microseconds
  bool failed = false;
};

/// One operation and size. Candidate 0 is the built-in plan.
struct Contest {
  Collective op;
  std::int64_t bytes = 0;
  std::int64_t message = 0;
  std::vector<Candidate> candidates = {};
  int num_candidates = 0;  ///< before the finals, but for the built-in plan
};

/// The tuning of one back-end.
class BackendTuner {
 public:
  BackendTuner(const MachineSnapshot& machine, const TuneParameters& parameters, std::string backend,
               const MakeTimer& make_timer, const std::function<void(std::string_view)>& on_step, TuneResult& result)
      : machine_(machine),
        parameters_(parameters),
        backend_(std::move(backend)),
        make_timer_(make_timer),
        on_step_(on_step),
        result_(result) {}

  /// Throws what the built-in plan fails with: then the back-end is of no use here.
  void run() {
    inbox_bytes_ = parameters_.inbox_bytes != 0 ? parameters_.inbox_bytes : choose_inbox();
    const PushLimits limits = limits_of(machine_, backend_, inbox_bytes_);
    for (const Collective op : parameters_.ops) {
      for (const std::int64_t bytes : parameters_.sizes) {
        Contest contest{.op = op, .bytes = bytes, .message = message_bytes(op, bytes, limits.world_size)};
        contest.candidates = {{.row = {.backend = backend_, .op = op, .up_to_bytes = contest.message}}};
        for (TunedCalls& row : tune_candidates(limits, op, bytes)) {
          row.backend = backend_;
          contest.candidates.push_back({.row = row});
        }
        contest.num_candidates = static_cast<int>(contest.candidates.size()) - 1;
        contests_.push_back(std::move(contest));
      }
    }
    measure_all("short", kQuick, 1);
    keep_finalists();
    measure_all("long", kLong, kPasses);
    choose(limits);
  }

 private:
  void step(const std::string& what) const {
    if (on_step_) on_step_(format("{}: {}", backend_, what));
  }

  Tuning with_inbox(std::int64_t bytes) const {
    Tuning tuning;
    if (bytes != 0) tuning.inboxes = {{backend_, bytes}};
    return tuning;
  }

  /// A round measures one candidate of each contest, all under one tuning: so that a group is made for each round and
  /// not for each candidate.
  void measure_all(std::string_view pass, TuneEffort effort, int passes) {
    std::size_t rounds = 0;
    for (const Contest& contest : contests_) rounds = std::max(rounds, contest.candidates.size());
    for (int p = 0; p < passes; ++p) {
      for (std::size_t round = 0; round < rounds; ++round) {
        measure_round(format("{} measurements, {} of {}", pass, static_cast<std::size_t>(p) * rounds + round + 1,
                             rounds * static_cast<std::size_t>(passes)),
                      round, effort);
      }
    }
  }

  void measure_round(const std::string& what, std::size_t round, TuneEffort effort) {
    std::unique_ptr<CallTimer> timer;
    for (Contest& contest : contests_) {
      if (!takes_part(contest, round)) continue;
      step(format("{}: {} of {} bytes", what, to_string(contest.op), contest.bytes));
      if (!timer) timer = make_timer_(backend_, tuning_of(round));
      Candidate& candidate = contest.candidates[round];
      try {
        const std::vector<double> samples = timer->time(contest.op, contest.bytes, effort_of(effort, contest.bytes));
        candidate.samples.insert(candidate.samples.end(), samples.begin(), samples.end());
      } catch (const Error& error) {
        timer.reset();
        if (error.kind() == ErrorKind::kCancelled || round == 0) throw;
        drop(contest, candidate, error.what());
      }
    }
  }

  Tuning tuning_of(std::size_t round) const {
    Tuning tuning = with_inbox(inbox_bytes_);
    for (const Contest& contest : contests_) {
      tuning.calls.push_back(contest.candidates[takes_part(contest, round) ? round : 0].row);
    }
    return tuning;
  }

  static bool takes_part(const Contest& contest, std::size_t round) {
    return round < contest.candidates.size() && !contest.candidates[round].failed;
  }

  void drop(const Contest& contest, Candidate& candidate, const std::string& error) {
    candidate.failed = true;
    result_.findings.push_back(
        {backend_, format("{}, {} of {} bytes", describe(candidate.row), to_string(contest.op), contest.bytes), error});
    if (++failures_ < kMostFailures) return;
    fail(ErrorKind::kInternal, "{} plans failed, the last with: {}", failures_, error);
  }

  // The built-in plan, and the fastest of the others.
  void keep_finalists() {
    for (Contest& contest : contests_) {
      std::erase_if(contest.candidates, [](const Candidate& candidate) { return candidate.failed; });
      std::stable_sort(contest.candidates.begin() + 1, contest.candidates.end(),
                       [](const Candidate& a, const Candidate& b) { return median(a.samples) < median(b.samples); });
      if (contest.candidates.size() > kFinalists + 1) contest.candidates.resize(kFinalists + 1);
      for (Candidate& candidate : contest.candidates) candidate.samples.clear();
    }
  }

  void choose(const PushLimits& limits) {
    for (Contest& contest : contests_) {
      const double built_in = median(contest.candidates[0].samples);
      std::size_t best = 0;
      double least = built_in / kWorthAChange;
      for (std::size_t c = 1; c < contest.candidates.size(); ++c) {
        if (contest.candidates[c].failed) continue;
        if (const double time = median(contest.candidates[c].samples); time < least) {
          best = c;
          least = time;
        }
      }
      contest.candidates = {contest.candidates[best]};
      const TunedCalls used =
          best == 0 ? planned_call(limits, contest.op, kDType, contest.message) : contest.candidates[0].row;
      result_.sizes.push_back({.backend = backend_,
                               .op = contest.op,
                               .bytes = contest.bytes,
                               .algorithm = used.algorithm,
                               .blocks = used.blocks,
                               .built_in = best == 0,
                               .microseconds = best == 0 ? built_in : least,
                               .built_in_us = built_in,
                               .num_candidates = contest.num_candidates});
    }
    if (inbox_bytes_ != 0) result_.profile.tuning.inboxes.push_back({backend_, inbox_bytes_});
    for (const Collective op : parameters_.ops) add_rows(op);
  }

  // Between two sizes the bound is their geometric mean, as in choose_backends. Beyond the sizes that were measured the
  // built-in plan holds, unless they go as far as it matters.
  void add_rows(Collective op) {
    std::vector<TunedCalls> rows;
    const auto add = [&](TunedCalls row, std::int64_t up_to_bytes) {
      row.up_to_bytes = up_to_bytes;
      if (!rows.empty() && rows.back().algorithm == row.algorithm && rows.back().blocks == row.blocks) rows.pop_back();
      rows.push_back(row);
    };
    const Contest* before = nullptr;
    for (const Contest& contest : contests_) {
      if (contest.op != op) continue;
      if (before != nullptr) {
        const double mean = std::sqrt(static_cast<double>(before->message) * static_cast<double>(contest.message));
        add(before->candidates[0].row,
            std::clamp(static_cast<std::int64_t>(mean), before->message, contest.message - 1));
      } else if (contest.bytes > kSmallest) {
        add({.backend = backend_, .op = op}, contest.message / 2);
      }
      before = &contest;
    }
    if (before == nullptr) return;
    add(before->candidates[0].row, before->bytes < kLargest ? 2 * before->message : TunedCalls::kNoBound);
    if (rows.back().algorithm == TunedAlgorithm::kBuiltIn) rows.pop_back();
    std::move(rows.begin(), rows.end(), std::back_inserter(result_.profile.tuning.calls));
  }

  // ---- inboxes

  /// Sizes that travel over rings, by the built-in plan.
  std::vector<std::pair<Collective, std::int64_t>> ring_calls(const PushLimits& limits) const {
    std::vector<std::pair<Collective, std::int64_t>> calls;
    for (const Collective op : parameters_.ops) {
      for (const std::int64_t bytes : parameters_.sizes) {
        const std::int64_t message = message_bytes(op, bytes, limits.world_size);
        const bool ring = planned_call(limits, op, kDType, message).algorithm == TunedAlgorithm::kRingBulk;
        if (ring) calls.emplace_back(op, bytes);
      }
    }
    return calls;
  }

  /// The sum of the logarithms of the times: what counts is by how much each gets faster. Infinite for an inbox with
  /// which a call failed or for which there is no memory.
  double inbox_time(std::int64_t bytes, const std::vector<std::pair<Collective, std::int64_t>>& calls,
                    TuneEffort effort) {
    const std::string name = bytes == 0 ? "the chosen inbox" : format("an inbox of {} MB", bytes >> 20);
    double sum = 0;
    try {
      const auto timer = make_timer_(backend_, with_inbox(bytes));
      for (const auto& [op, size] : calls) {
        step(format("{}: {} of {} bytes", name, to_string(op), size));
        sum += std::log(std::max(1e-9, median(timer->time(op, size, effort_of(effort, size)))));
      }
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kCancelled || bytes == 0) throw;
      if (error.kind() != ErrorKind::kOutOfMemory) result_.findings.push_back({backend_, name, error.what()});
      return std::numeric_limits<double>::infinity();
    }
    return sum;
  }

  // Only those that leave the packet areas as they are: rings are what gets faster.
  std::int64_t choose_inbox() {
    const PushLimits built_in = limits_of(machine_, backend_, 0);
    const auto calls = ring_calls(built_in);
    if (calls.empty()) return 0;
    std::int64_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (const std::int64_t bytes : kInboxes) {
      if (bytes < least_inbox_bytes(built_in.world_size)) continue;
      const Rooms rooms = plan_rooms(built_in.world_size, place_of(backend_), bytes);
      const bool same_packets = rooms.one_shot_tagged == built_in.rooms.one_shot_tagged &&
                                rooms.one_shot_sentinel == built_in.rooms.one_shot_sentinel &&
                                rooms.two_shot_sentinel == built_in.rooms.two_shot_sentinel;
      if (!same_packets) continue;
      if (const double time = inbox_time(bytes, calls, kQuick); time < least) {
        best = bytes;
        least = time;
      }
    }
    if (best == 0) return 0;
    double chosen = 0, other = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
      chosen += inbox_time(0, calls, kLong);
      other += inbox_time(best, calls, kLong);
    }
    const double mean_gain = (chosen - other) / static_cast<double>(kPasses * calls.size());
    return mean_gain > std::log(kWorthAChange) ? best : 0;
  }

  const MachineSnapshot& machine_;
  const TuneParameters& parameters_;
  std::string backend_;
  const MakeTimer& make_timer_;
  const std::function<void(std::string_view)>& on_step_;
  TuneResult& result_;
  std::int64_t inbox_bytes_ = 0;
  std::vector<Contest> contests_;
  int failures_ = 0;
};

void mark_failed(MachineSnapshot& machine, const std::string& backend, const std::string& error) {
  std::erase_if(machine.backends, [&](const BackendFacts& facts) { return facts.name == backend; });
  machine.backends.push_back({.name = backend, .works = false, .detail = error});
}

// In place of calibrate(): its operations and sizes, and those that were tuned.
void measure_backend(const std::string& backend, const TuneParameters& parameters, const MakeTimer& make_timer,
                     const std::function<void(std::string_view)>& on_step, MachineSnapshot& machine) {
  std::set<std::int64_t> sizes(calibrated_sizes().begin(), calibrated_sizes().end());
  sizes.insert(parameters.sizes.begin(), parameters.sizes.end());
  std::vector<MeasuredCall> calls;
  const auto timer = make_timer(backend, machine.tuning);
  for (const Collective op : tunable_ops()) {
    for (const std::int64_t bytes : sizes) {
      if (on_step) on_step(format("{}: {} of {} bytes", backend, to_string(op), bytes));
      calls.push_back({backend, op, bytes, median(timer->time(op, bytes, effort_of(kOfBackends, bytes)))});
    }
  }
  std::move(calls.begin(), calls.end(), std::back_inserter(machine.calls));
}

/// A group of this machine's GPUs.
class TeamTimer final : public CallTimer {
 public:
  TeamTimer(std::span<const Device> devices, const std::string& backend, double timeout_s,
            std::shared_ptr<const MachineSnapshot> machine)
      : team_({.world_size = static_cast<int>(devices.size()),
               .backend = backend,
               .devices = {devices.begin(), devices.end()},
               .timeout = std::chrono::nanoseconds(static_cast<std::int64_t>(timeout_s * 1e9)),
               .machine = std::move(machine)}) {}

  std::vector<double> time(Collective op, std::int64_t bytes, TuneEffort effort) override {
    return measure_collective(
               team_, {.op = op, .dtype = kDType, .bytes = bytes, .calls = effort.calls, .samples = effort.samples})
        .microseconds;
  }

 private:
  RankTeam team_;
};

}  // namespace

std::span<const Collective> tunable_ops() {
  return calibrated_ops();
}

Collective parse_tunable_op(std::string_view name) {
  std::string known;
  for (const Collective op : tunable_ops()) {
    std::string spelled(to_string(op));
    std::replace(spelled.begin(), spelled.end(), '-', '_');
    if (spelled == name) return op;
    known += format("{}{}", known.empty() ? "" : ", ", spelled);
  }
  fail_with_hint(ErrorKind::kInvalidArgument, format("no operation \"{}\" to tune", name), "there are " + known);
}

std::vector<std::int64_t> default_tune_sizes() {
  std::vector<std::int64_t> sizes;
  for (std::int64_t bytes = 1 << 10; bytes <= kLargest; bytes *= 4) sizes.push_back(bytes);
  return sizes;
}

std::int64_t message_bytes(Collective op, std::int64_t bytes, int world_size) {
  const auto element = static_cast<std::int64_t>(dtype_bytes(kDType, 1));
  const bool shares = op == Collective::kAllGather || op == Collective::kReduceScatter || op == Collective::kGather;
  return shares ? bytes / element / world_size * element : bytes;
}

std::vector<TunedCalls> tune_candidates(const PushLimits& limits, Collective op, std::int64_t bytes) {
  PushLimits untuned = limits;
  untuned.tuned.clear();
  const std::int64_t message = message_bytes(op, bytes, limits.world_size);
  const TunedCalls built_in = planned_call(untuned, op, kDType, message);
  const std::int64_t warps = (message + 32 * kPackBytes - 1) / (32 * kPackBytes);
  const std::int64_t fewest = (message + kLargestStripe - 1) / kLargestStripe;
  std::vector<TunedCalls> candidates;
  for (const TunedAlgorithm algorithm : kAlgorithms) {
    std::set<int> numbers = {limits.max_blocks, limits.rooms.ring_blocks};
    for (int blocks = 1; blocks < limits.max_blocks; blocks *= 2) numbers.insert(blocks);
    for (const int blocks : numbers) {
      const TunedCalls candidate{.op = op, .up_to_bytes = message, .algorithm = algorithm, .blocks = blocks};
      const bool same = algorithm == built_in.algorithm && blocks == built_in.blocks;
      if (!same && blocks <= warps && blocks >= fewest && fits(untuned, candidate, kDType, message)) {
        candidates.push_back(candidate);
      }
    }
  }
  return candidates;
}

TuneResult tune(const MachineSnapshot& machine, const TuneParameters& parameters, const MakeTimer& make_timer,
                const std::function<void(std::string_view)>& on_step) {
  TANDEM_CHECK(machine.gpus.size() >= 2, "tuning of {} GPUs", machine.gpus.size());
  TuneResult result{.profile = machine, .sizes = {}, .findings = {}};
  result.profile.calls.clear();
  result.profile.tuning = {};
  result.profile.profile.clear();
  const auto unless_it_fails = [&](const std::string& backend, const std::function<void()>& body) {
    if (why_not(result.profile, backend, Evidence::kProbed)) return;
    try {
      body();
    } catch (const Error& error) {
      // Not the back-end's fault: somebody else has the memory, or the user asked for more than there is.
      if (error.kind() == ErrorKind::kCancelled || error.kind() == ErrorKind::kOutOfMemory) throw;
      mark_failed(result.profile, backend, error.what());
      std::erase_if(result.sizes, [&](const TunedSize& size) { return size.backend == backend; });
      result.findings.push_back({backend, "does not work, and is not used", error.what()});
    }
  };
  for (const std::string backend : {"p2p", "native"}) {
    unless_it_fails(backend, [&] { BackendTuner(machine, parameters, backend, make_timer, on_step, result).run(); });
  }
  for (const std::string& backend : backend_names()) {
    unless_it_fails(backend, [&] { measure_backend(backend, parameters, make_timer, on_step, result.profile); });
  }
  return result;
}

TuneResult tune_devices(std::span<const Device> devices, const TuneParameters& parameters, double timeout_s,
                        const std::function<void(std::string_view)>& on_step) {
  on_step("probing the links");
  const MachineSnapshot machine = record_snapshot(devices, {.probe = own_measurements(devices).probe, .calibrate = {}});
  const MakeTimer make_timer = [&](const std::string& backend, const Tuning& tuning) {
    auto tuned = std::make_shared<MachineSnapshot>(machine);
    tuned->tuning = tuning;
    return std::make_unique<TeamTimer>(devices, backend, timeout_s, std::move(tuned));
  };
  return tune(machine, parameters, make_timer, on_step);
}

}  // namespace tandem
