#pragma once
// GPUs that are not there: the protocols of comm/protocol on host threads, over links that can be slow, or broken in
// the ways in which real ones are. For tests.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <vector>

#include "base/clock.h"
#include "comm/protocol/env.h"

namespace tandem {

/// What a link does. A pack travels as two or four stores. A late one arrives when its receiver has looked for it in
/// vain so many times: the worst moment, whatever the scheduler does. Faults are probabilities of a pack.
struct LinkBehaviour {
  std::uint32_t max_delay = 0;  ///< each store is 0 to max_delay looks late, so they overtake each other
  double drop = 0;              ///< never arrives
  double zero = 0;              ///< zeros arrive instead
  double mirror = 0;            ///< lands in the sender's memory instead
  double flip = 0;              ///< arrives with one bit turned over
  double tear = 0;              ///< halves come apart: their first words are late
  double overtaken = 0;         ///< is late, and no fence waits for it, so that a word raised later is seen before it
};

struct RigOptions {
  int world_size = 2;
  int blocks = 1;   ///< of each rank's grid
  int threads = 1;  ///< of a block
  Rooms rooms;
  std::uint32_t first_generation = 1;                  ///< of the packets' areas and of all rings
  Clock::duration timeout = std::chrono::seconds(30);  ///< of every wait
  bool poisons = true;  ///< false: a wait that ends in vain ends its own lane's call only
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

  class Env;
  /// Runs `num_calls` calls on every rank, each rank at its own pace: `prepare(rank, call)` on one thread first, `body`
  /// on every lane, `done(rank, call)` on one thread before the rank's next call. All calls that begin() are in one
  /// area. Ends early on a failure. Once a rig.
  void run(int num_calls, const std::function<void(int rank, int call)>& prepare,
           const std::function<void(Env&, int call)>& body, const std::function<void(int rank, int call)>& done);

  const InboxLayout& layout() const { return layout_; }
  std::optional<RigFailure> failure() const;
  void set_link(int from, int to, const LinkBehaviour& behaviour);
  /// An area of all inboxes holds `word` everywhere, as memory does before the first call.
  void fill(const Area& area, std::uint32_t word);

 private:
  struct Rank;
  struct Store;
  void put(int to, Store store);
  void deliver(int to, std::size_t half);
  void deliver_all(int from, int block, int to);
  bool poisoned() const { return poisoned_.load(std::memory_order_relaxed); }

  RigOptions options_;
  InboxLayout layout_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<LinkBehaviour> links_;  // [from][to]
  std::atomic<bool> poisoned_{false};
  mutable std::mutex failure_mutex_;
  std::optional<RigFailure> failure_;
};

/// One lane's view; see comm/protocol/env.h.
class VirtualRig::Env {
 public:
  int rank() const { return rank_; }
  int world_size() const;
  int block() const { return block_; }
  int num_blocks() const;
  int thread() const { return thread_; }
  int num_threads() const;
  std::int64_t lane() const { return std::int64_t{block_} * num_threads() + thread_; }
  std::int64_t num_lanes() const { return std::int64_t{num_blocks()} * num_threads(); }
  const InboxLayout& layout() const { return rig_.layout_; }
  bool begin(std::int64_t num_packs);
  std::uint32_t generation() const { return generation_; }
  std::int64_t last_num_packs() const { return last_num_packs_; }
  void put_halves(const Area& area, int to, int slot, std::int64_t index, const Pack& pack);
  void put_words(const Area& area, int to, int slot, std::int64_t index, const Pack& pack);
  Pack get_halves(const Area& area, int slot, std::int64_t index) { return get_words(area, slot, index); }
  Pack get_words(const Area& area, int slot, std::int64_t index);
  void refill(const Area& area, int slot, std::int64_t index, const Pack& pack);
  bool keep_waiting(Waiting& waiting);

  std::uint32_t sent(int to) const { return sent_[static_cast<std::size_t>(to)]; }
  std::uint32_t received(int from) const { return received_[static_cast<std::size_t>(from)]; }
  std::uint32_t emptied(int to) const;
  void add_sent(int to, std::int64_t chunks);
  void add_received(int from, std::int64_t chunks);
  std::uint32_t word(std::int64_t index);
  void raise(int to, std::int64_t index, std::uint32_t value);
  void raise_relaxed(int to, std::int64_t index, std::uint32_t value);
  void fence();
  void sync_block();
  bool sync_block(bool ok);
  int team() const { return block(); }
  int num_teams() const { return num_blocks(); }
  int team_thread() const { return thread(); }
  int team_threads() const { return num_threads(); }
  bool team_sum(bool ok, float& x);

 private:
  friend class VirtualRig;
  Env(VirtualRig& rig, int rank, int block, int thread);
  std::size_t first_half(const Area& area, int slot, std::int64_t index) const;
  struct Fate;  // of one pack on its link
  Fate draw_fate(int to, const Pack& pack);
  const LinkBehaviour& link(int to) const;
  bool draw(double probability);
  std::uint64_t draw_looks(int to);
  void store_half(std::size_t first, std::size_t half, std::uint64_t mask, const Fate& fate, std::uint64_t looks);

  VirtualRig& rig_;
  int rank_, block_, thread_;
  std::uint32_t generation_;
  std::int64_t last_num_packs_ = 0, num_packs_ = 0;  // of the calls before, and of this one
  // Every thread of a block counts the chunks of its rings; all count the same.
  std::vector<std::uint32_t> sent_, received_;
  std::mt19937_64 random_;
  Clock::time_point wait_began_;
};

}  // namespace tandem
