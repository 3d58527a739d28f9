#pragma once
// GPUs that are not there: the protocols of comm/protocol on host threads, over links that can be slow, or broken in
// the ways in which real ones are. For tests and for the probe's own test.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "comm/protocol/all_reduce.h"

namespace tandem {

/// What a link does. A pack travels as two or four stores; delays are in the receiver's polls.
struct LinkBehaviour {
  std::uint32_t max_delay = 0;  ///< each store arrives 0 to max_delay polls late, so they overtake each other
  double drop = 0;              ///< probability that a pack never arrives
  double zero = 0;              ///< zeros arrive instead
  double mirror = 0;            ///< lands in the sender's memory instead
};

struct RigOptions {
  int world_size = 2;
  int lanes = 1;                  ///< threads of each rank's grid
  int num_slots = 0;              ///< of each inbox
  std::int64_t slot_packets = 0;  ///< room of a slot
  std::uint32_t first_generation = 1;
  Clock::duration timeout = std::chrono::seconds(30);
  std::uint64_t seed = 1;
  LinkBehaviour link;  ///< of every ordered pair
};

/// Why a call ended early: the first wait of any lane that ended in vain.
struct RigFailure {
  int rank, peer, phase;
  std::uint32_t generation;
};

class VirtualRig {
 public:
  explicit VirtualRig(const RigOptions& options);
  ~VirtualRig();

  /// The tensors of one rank's next call.
  struct Call {
    const std::byte* in = nullptr;
    std::byte* out = nullptr;
    std::int64_t bytes = 0;
  };

  class Env;
  /// Runs `num_calls` calls on every rank, each rank at its own pace: `prepare(rank, call)` gives a call's tensors,
  /// `body` runs on every lane, `done(rank, call)` sees the result before the rank's next call. Ends early on a
  /// failure.
  void run(int num_calls, const std::function<Call(int rank, int call)>& prepare, const std::function<void(Env&)>& body,
           const std::function<void(int rank, int call)>& done);

  std::optional<RigFailure> failure() const;
  /// Makes every waiting lane leave, as a rank's death does.
  void poison() { poisoned_.store(true, std::memory_order_relaxed); }
  void set_link(int from, int to, const LinkBehaviour& behaviour);
  /// The inbox of a rank holds `word` everywhere, as memory does before a region's first call.
  void fill(std::uint32_t word);

 private:
  struct Link;
  struct Rank;
  struct Store;
  void put(int from, int to, const Store& store, std::uint64_t random);
  void deliver(int to);

  RigOptions options_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<LinkBehaviour> links_;  // [from][to]
  std::atomic<bool> poisoned_{false};
  mutable std::mutex failure_mutex_;
  std::optional<RigFailure> failure_;
};

/// One lane's view; see comm/protocol/all_reduce.h.
class VirtualRig::Env {
 public:
  int rank() const { return rank_; }
  int world_size() const;
  std::int64_t lane() const { return lane_; }
  std::int64_t num_lanes() const;
  std::uint32_t generation() const { return generation_; }
  std::int64_t num_packs() const { return (call_.bytes + kPackBytes - 1) / kPackBytes; }
  std::int64_t last_num_packs() const { return last_num_packs_; }
  Pack load(std::int64_t index) const;
  void store(std::int64_t index, const Pack& pack);
  void put_halves(int to, int slot, std::int64_t index, const Pack& pack);
  void put_words(int to, int slot, std::int64_t index, const Pack& pack);
  Pack get_halves(int slot, std::int64_t index) { return get_words(slot, index); }
  Pack get_words(int slot, std::int64_t index);
  void refill(int slot, std::int64_t index, const Pack& pack);
  bool keep_waiting(Waiting& waiting);

 private:
  friend class VirtualRig;
  Env(VirtualRig& rig, int rank, int lane);
  std::size_t first_half(int slot, std::int64_t index) const;
  struct Fate;  // of one pack on its link
  Fate draw_fate(int to);

  VirtualRig& rig_;
  int rank_, lane_;
  std::uint32_t generation_;
  Call call_;
  std::int64_t last_num_packs_ = 0;
  std::mt19937_64 random_;
  Clock::time_point deadline_;
};

}  // namespace tandem
