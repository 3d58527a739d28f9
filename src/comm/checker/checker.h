#pragma once
// A model checker for the protocols of comm/protocol: it runs the very source in every order of its lanes' stores and
// loads that the memory model allows. For tests.
//
// A lane is run again and again: from the beginning of its call, given what it has read there so far, until it comes
// to the next thing that others can notice. So the state of a lane is what it has read, states can be copied and
// compared, and one that has been seen is not followed twice.
//
// The memory model is C++'s of relaxed, release and acquire accesses, without out-of-thin-air reads and without load
// buffering (no load takes its value from a store that depends on the lane's later stores). A load may see any store
// that coherence and what the lane has acquired leave; each unit of a pack is a store or load of its own. The end of a
// kernel is a fence of its rank, see CheckOptions::kernel_fence. Each place is to be written in an order that its
// writers can tell: a store that may land before or after another one's is a violation.
//
// A poll in vain changes nothing and is left out. What is left must go on even if loads see only the newest stores:
// else the lanes hang, which is a violation too.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/protocol/env.h"

namespace tandem {

/// A rank that goes missing; the others may then give up at any poll in vain, as if their deadline had passed.
struct Stop {
  int rank = 0;
  int call = 0;        ///< the first that it does not end
  bool midway = true;  ///< in that call, after any of its steps; false: it never begins it
};

struct Filling {
  Area area;
  std::uint32_t word;
};

struct CheckOptions {
  int world_size = 2;
  int blocks = 1;   ///< of each rank's grid
  int threads = 1;  ///< of a block
  Rooms rooms;
  int calls = 3;
  std::uint32_t first_generation = 1;                    ///< of the packets' areas and of all rings
  std::vector<Filling> memory;                           ///< before the first call; zeros elsewhere
  std::vector<std::int64_t> packs;                       ///< of each call; by them its area is refilled later
  std::function<std::int64_t(int rank, int call)> kept;  ///< packs that a rank's lanes check, all together
  int unit_bytes = 8;                                    ///< what arrives as one: half a pack (8) or a word (4)
  bool kernel_fence = true;    ///< the end of a kernel orders all before it with all after it, for peers too
  bool ordered_reuse = false;  ///< what was read must happen before it is overwritten: for packs that prove nothing
  bool single_stores = true;   ///< others may see each store of a lane before its next; false: those between two loads
                               ///< come together, which hides nothing from loads that may see old values anyway
  std::optional<Stop> stop;
  std::int64_t max_states = 20'000'000;
};

struct CheckReport {
  std::optional<std::string> violation;  ///< what is wrong, then the steps that lead to it
  std::int64_t states = 0;
  std::int64_t steps = 0;
};

class Checker;
class CheckedEnv;

/// A word of an inbox, loaded (acquire) when it is compared: of the values that give the same answer only the oldest
/// that may be seen is followed, since who has acquired less may see whatever others may.
struct CheckedWord {
  CheckedEnv* env;
  std::int64_t index;
};
bool generation_reached(const CheckedWord& seen, std::uint32_t wanted);

/// One lane's view; see comm/protocol/env.h.
class CheckedEnv {
 public:
  int rank() const { return rank_; }
  int world_size() const;
  int block() const { return block_; }
  int num_blocks() const;
  int thread() const { return thread_; }
  int num_threads() const;
  std::int64_t lane() const { return std::int64_t{block_} * num_threads() + thread_; }
  std::int64_t num_lanes() const { return std::int64_t{num_blocks()} * num_threads(); }
  const InboxLayout& layout() const;
  bool begin(std::int64_t) { return true; }  // CheckOptions::packs tells; a call of a dead group is not modelled
  std::uint32_t generation() const;
  std::int64_t last_num_packs() const;
  void put_halves(const Area& area, int to, int slot, std::int64_t index, const Pack& pack);
  void put_words(const Area& area, int to, int slot, std::int64_t index, const Pack& pack);
  Pack get_halves(const Area& area, int slot, std::int64_t index);
  Pack get_words(const Area& area, int slot, std::int64_t index);
  void refill(const Area& area, int slot, std::int64_t index, const Pack& pack);
  bool keep_waiting(Waiting& waiting);

  std::uint32_t sent(int to) const;
  std::uint32_t received(int from) const;
  std::uint32_t emptied(int to) const;
  void add_sent(int to, std::int64_t chunks);
  void add_received(int from, std::int64_t chunks);
  CheckedWord word(std::int64_t index) { return {this, index}; }
  void raise(int to, std::int64_t index, std::uint32_t value);
  void raise_relaxed(int to, std::int64_t index, std::uint32_t value);
  void sync_block();
  bool sync_block(bool ok);

  /// Whether this lane has given up waiting; it then has no result.
  bool left() const;

 private:
  friend class Checker;
  friend bool generation_reached(const CheckedWord& seen, std::uint32_t wanted);
  CheckedEnv(Checker& checker, int rank, int block, int thread)
      : checker_(&checker), rank_(rank), block_(block), thread_(thread) {}

  Checker* checker_;
  int rank_, block_, thread_;
};

/// What a lane has made of its call.
struct LaneResult {
  bool right = true;
  std::int64_t kept = 0;  ///< packs that it has stored and found right
};

/// Runs `body` as every call of every lane. It must do the same whenever it reads the same, and keep nothing: it is run
/// many times for one call.
CheckReport check(const CheckOptions& options, const std::function<LaneResult(CheckedEnv&, int call)>& body);

}  // namespace tandem
