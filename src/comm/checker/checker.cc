#include "comm/checker/checker.h"

#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "comm/checker/search_state.h"
#include "comm/checker/weak_memory.h"

namespace tandem {
namespace {

// How a step ends other than with its call.
struct StepEnd {};
struct Violation {
  std::string what;
};

}  // namespace

class Checker {
 public:
  Checker(const CheckOptions& options, const std::function<LaneResult(CheckedEnv&, int)>& body)
      : options_(options),
        body_(body),
        layout_(options.world_size, options.rooms),
        units_(static_cast<std::size_t>(kPackBytes / options.unit_bytes)),
        places_per_rank_(static_cast<std::size_t>(layout_.packet_bytes() / kPackBytes) * units_ +
                         static_cast<std::size_t>(layout_.num_words())),
        lanes_per_rank_(static_cast<std::size_t>(options.blocks * options.threads)),
        memory_(places_per_rank_ * ranks(), lanes_per_rank_ * ranks()) {
    TANDEM_CHECK(options.unit_bytes == 4 || options.unit_bytes == 8, "units of {} bytes", options.unit_bytes);
    TANDEM_CHECK(options.packs.size() == static_cast<std::size_t>(options.calls), "{} sizes for {} calls",
                 options.packs.size(), options.calls);
  }

  CheckReport run() {
    try {
      explore(first_state());
    } catch (const Violation& violation) {
      report_.violation = violation.what + "\n" + trace_of_path();
    }
    return report_;
  }

 private:
  friend class CheckedEnv;
  friend bool generation_reached(const CheckedWord& seen, std::uint32_t wanted);

  std::size_t ranks() const { return static_cast<std::size_t>(options_.world_size); }
  std::size_t first_lane(int rank) const { return static_cast<std::size_t>(rank) * lanes_per_rank_; }
  std::size_t place_of(int rank, const Area& area, int slot, std::int64_t index) const {
    TANDEM_CHECK(0 <= slot && slot < area.num_slots && 0 <= index && index < area.slot_packets,
                 "packet {} of slot {}: there are {} slots of {}", index, slot, area.num_slots, area.slot_packets);
    return static_cast<std::size_t>(rank) * places_per_rank_ +
           static_cast<std::size_t>(area.packet(slot, index)) * units_;
  }
  std::size_t word_place(int rank, std::int64_t word) const {
    return (static_cast<std::size_t>(rank) + 1) * places_per_rank_ - static_cast<std::size_t>(layout_.num_words()) +
           static_cast<std::size_t>(word);
  }

  State first_state() {
    State state;
    state.poison.assign(ranks(), 0);
    const std::uint32_t before = advance_generation(options_.first_generation, -1);
    LaneState lane;
    lane.seen = lane.arrival = seen_.number({});
    lane.counts = counts_.number(std::vector<std::uint32_t>(2 * ranks(), before));
    lane.known = lane.acquired = lane.released = memory_.number(memory_.nothing());
    state.lanes.assign(ranks() * lanes_per_rank_, lane);
    state.places.assign(ranks() * places_per_rank_, memory_.initial(0));
    for (int rank = 0; rank < options_.world_size; ++rank) {
      for (const Filling& filling : options_.memory) {
        for (int slot = 0; slot < filling.area.num_slots; ++slot) {
          for (std::int64_t i = 0; i < filling.area.slot_packets; ++i) {
            const std::uint64_t value = filling.word | (units_ == 2 ? std::uint64_t{filling.word} << 32 : 0);
            const std::size_t at = place_of(rank, filling.area, slot, i);
            for (std::size_t u = 0; u < units_; ++u) state.places[at + u] = memory_.initial(value);
          }
        }
      }
      for (std::int64_t w = 0; w < layout_.num_words(); ++w)
        state.places[word_place(rank, w)] = memory_.initial(before);
    }
    return state;
  }

  // Follows all that can happen from a state.
  void explore(const State& state) {
    if (!visited_.insert(fingerprint(state)).second) return;
    ++report_.states;
    TANDEM_CHECK(report_.states <= options_.max_states, "more than {} states", options_.max_states);
    path_.push_back({state, 0, {}});
    bool goes_on = false, all_gone = true;
    for (std::size_t lane = 0; lane < state.lanes.size(); ++lane) {
      if (state.lanes[lane].status != kGone) all_gone = false;
      if (state.lanes[lane].status != kRunning) continue;
      Choices choices;
      bool newest = true;  // all loads of the first outcome see the newest stores
      do {
        choices.rewind();
        path_.back().lane = lane;
        path_.back().choices = choices;
        may_leave_ = false;
        const bool stepped = step(state, lane, choices);
        if (newest && (stepped || may_leave_)) goes_on = true;
        newest = false;
        if (!stepped) continue;
        forget();
        ++report_.steps;
        const State next = state_;
        explore(next);
      } while (choices.advance());
    }
    if (!all_gone && !goes_on) {
      path_.pop_back();
      throw Violation{"hang: " + waiting_of(state)};
    }
    stop_midway(state);
    path_.pop_back();
  }

  void stop_midway(const State& state) {
    if (!options_.stop || !options_.stop->midway) return;
    const std::size_t first = first_lane(options_.stop->rank);
    for (std::size_t i = first; i < first + lanes_per_rank_; ++i) {
      if (state.lanes[i].status == kGone || state.lanes[i].call != static_cast<std::uint32_t>(options_.stop->call))
        return;
    }
    path_.back().lane = kNoLane;
    State next = state;
    for (std::size_t i = first; i < first + lanes_per_rank_; ++i) next.lanes[i] = LaneState{.status = kGone};
    explore(next);
  }

  // One step of a lane from `from` to state_. False: it polls in vain.
  bool step(const State& from, std::size_t lane_index, Choices& choices) {
    state_ = from;
    lane_index_ = lane_index;
    lane_ = state_.lanes[lane_index];
    choices_ = &choices;
    seen_now_ = seen_[lane_.seen];
    clocks_ = {memory_.clock(lane_.known), memory_.clock(lane_.acquired), memory_.clock(lane_.released)};
    counts_now_ = next_counts_ = counts_[lane_.counts];
    num_ops_ = num_seen_ = 0;
    stored_ = left_ = in_vain_ = false;
    const int rank = static_cast<int>(lane_index / lanes_per_rank_),
              place = static_cast<int>(lane_index % lanes_per_rank_);
    CheckedEnv env(*this, rank, place / options_.threads, place % options_.threads);
    try {
      LaneResult result;
      if (begin_call(env)) result = body_(env, static_cast<int>(lane_.call));
      if (in_vain_) return false;
      TANDEM_CHECK(!replaying(), "the body does less when it is run again");
      if (!left_ && !result.right) throw Violation{format("rank {} got a wrong result in call {}", rank, lane_.call)};
      lane_.status = kCallDone;
      lane_.left = left_;
      lane_.kept = left_ ? 0 : static_cast<std::uint32_t>(result.kept);
      lane_.counts = counts_.number(next_counts_);
      commit();
      state_.lanes[lane_index].num_ops = 0;
      state_.lanes[lane_index].seen = seen_.number({});
      end_kernel(rank);
      return true;
    } catch (const StepEnd&) {
      return true;
    }
  }

  bool replaying() const { return num_ops_ < lane_.num_ops; }
  // What a load or a barrier gave when this lane was here before.
  std::uint64_t recall() { return seen_now_[num_seen_++]; }
  void count_op() {
    ++num_ops_;
    TANDEM_CHECK(num_ops_ < 100'000, "a call without end");
  }
  void record(std::uint64_t value) {
    seen_now_.push_back(value);
    ++num_seen_;
  }
  void end_step() {
    commit();
    throw StepEnd{};
  }
  void commit() {
    lane_.num_ops = num_ops_;
    lane_.seen = seen_.number(seen_now_);
    lane_.known = memory_.number(clocks_.known);
    lane_.acquired = memory_.number(clocks_.acquired);
    lane_.released = memory_.number(clocks_.released);
    state_.lanes[lane_index_] = lane_;
  }

  std::uint64_t load(const CheckedEnv& env, std::size_t at, bool acquire, bool packet) {
    if (in_vain_) return 0;
    if (replaying()) {
      count_op();
      return recall();
    }
    if (stored_) end_step();
    Place& place = state_.places[at];
    const std::size_t back = choices_->choose(memory_.num_visible(place, at, clocks_));
    const std::uint64_t value = memory_.load(place, at, clocks_, back, acquire);
    if (packet && options_.ordered_reuse) memory_.remember_load(place, clocks_, lane_index_);
    note(env, [&] { return format("sees {:#x}, {} stores old, at {}", value, back, name_of(at)); });
    count_op();
    record(value);
    return value;
  }

  bool load_reached(const CheckedEnv& env, std::size_t at, std::uint32_t wanted) {
    if (in_vain_) return false;
    if (replaying()) {
      count_op();
      return recall() != 0;
    }
    if (stored_) end_step();
    const Place& place = state_.places[at];
    const std::size_t visible = memory_.num_visible(place, at, clocks_);
    std::size_t reached = 0;  // of the visible stores, the newest ones
    while (reached < visible && generation_reached(static_cast<std::uint32_t>(memory_.value(place, reached)), wanted)) {
      ++reached;
    }
    const bool both = reached > 0 && reached < visible;
    const bool is_reached = both ? choices_->choose(2) == 0 : reached > 0;
    const std::size_t back = (is_reached ? reached : visible) - 1;
    const std::uint64_t value = memory_.load(place, at, clocks_, back, true);
    note(env,
         [&] { return format("sees {:#x}, {} stores old, at {}, wants {:#x}", value, back, name_of(at), wanted); });
    count_op();
    record(is_reached);
    return is_reached;
  }

  void store(const CheckedEnv& env, std::size_t at, std::uint64_t value, bool release) {
    if (in_vain_) return;
    if (!replaying()) {
      if (stored_ && options_.single_stores) end_step();
      note(env, [&] { return format("stores {:#x} at {}", value, name_of(at)); });
      if (!memory_.store(state_.places[at], at, clocks_, value, release)) {
        throw Violation{format("rank {} stores at {} in call {} in no order with what another lane did there",
                               env.rank(), name_of(at), lane_.call)};
      }
      stored_ = true;
    }
    count_op();
  }

  void put(const CheckedEnv& env, int rank, const Area& area, int slot, std::int64_t index, const Pack& pack) {
    const std::size_t at = place_of(rank, area, slot, index);
    for (std::size_t u = 0; u < units_; ++u) {
      const std::uint64_t value =
          units_ == 4 ? pack.words[u] : pack.words[2 * u] | std::uint64_t{pack.words[2 * u + 1]} << 32;
      store(env, at + u, value, false);
    }
  }

  Pack get(const CheckedEnv& env, const Area& area, int slot, std::int64_t index) {
    const std::size_t at = place_of(env.rank(), area, slot, index);
    Pack pack{};
    for (std::size_t u = 0; u < units_; ++u) {
      const std::uint64_t value = load(env, at + u, false, true);
      if (units_ == 4) {
        pack.words[u] = static_cast<std::uint32_t>(value);
      } else {
        pack.words[2 * u] = static_cast<std::uint32_t>(value);
        pack.words[2 * u + 1] = static_cast<std::uint32_t>(value >> 32);
      }
    }
    return pack;
  }

  // What the threads of a block bring to a barrier, in their order.
  std::vector<std::uint64_t> exchange(const CheckedEnv& env, const std::vector<std::uint64_t>& own) {
    if (options_.threads == 1 || in_vain_) return own;
    const std::size_t count = own.size() * static_cast<std::size_t>(options_.threads);
    if (replaying()) {
      count_op();
      std::vector<std::uint64_t> all;
      for (std::size_t i = 0; i < count; ++i) all.push_back(recall());
      return all;
    }
    note(env, [] { return "comes to a barrier"; });
    lane_.status = kAtBarrier;
    lane_.arrival = seen_.number(own);
    commit();
    release_barrier(env.rank(), env.block());
    throw StepEnd{};
  }

  void release_barrier(int rank, int block) {
    LaneState* lanes = &state_.lanes[first_lane(rank) + static_cast<std::size_t>(block * options_.threads)];
    VectorClock known = memory_.nothing();
    std::vector<std::uint64_t> all;
    for (int t = 0; t < options_.threads; ++t) {
      if (lanes[t].status != kAtBarrier) return;
      join(known, memory_.clock(lanes[t].known));
      const auto& own = seen_[lanes[t].arrival];
      all.insert(all.end(), own.begin(), own.end());
    }
    for (int t = 0; t < options_.threads; ++t) {
      VectorClock acquired = memory_.clock(lanes[t].acquired);
      join(acquired, known);
      lanes[t].known = memory_.number(known);
      lanes[t].acquired = memory_.number(acquired);
      std::vector<std::uint64_t> seen = seen_[lanes[t].seen];
      seen.insert(seen.end(), all.begin(), all.end());
      lanes[t].seen = seen_.number(seen);
      lanes[t].arrival = seen_.number({});
      ++lanes[t].num_ops;
      lanes[t].status = kRunning;
    }
  }

  // What back-ends do before the protocol: look at the poison, and at the words of emptied chunks. False: leaves.
  bool begin_call(CheckedEnv& env) {
    bool poisoned = false;
    if (options_.stop) {
      if (replaying()) {
        count_op();
        poisoned = recall() != 0;
      } else {
        const bool is = state_.poison[static_cast<std::size_t>(env.rank())] != 0;
        poisoned = is && choices_->choose(2) == 0;
        count_op();
        record(poisoned);
      }
    }
    if (layout_.ring_blocks > 0) {
      std::vector<std::uint64_t> own(ranks() + 1, 0);
      own.back() = poisoned;
      for (int r = env.thread(); r < options_.world_size; r += options_.threads) {
        const std::int64_t word = layout_.emptied_word(env.block(), r);
        if (r != env.rank()) own[static_cast<std::size_t>(r)] = load(env, word_place(env.rank(), word), true, false);
      }
      const auto all = exchange(env, own);
      emptied_.assign(ranks(), 0);
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (i % own.size() == ranks()) {
          poisoned = poisoned || all[i] != 0;
        } else if (all[i] != 0) {
          emptied_[i % own.size()] = static_cast<std::uint32_t>(all[i]);
        }
      }
    }
    if (poisoned) leave(env);
    return !poisoned;
  }

  void leave(const CheckedEnv& env) {
    if (!replaying()) {
      note(env, [] { return "leaves, and poisons all"; });
      state_.poison.assign(ranks(), 1);
      stored_ = true;
    }
    count_op();
    left_ = true;
  }

  // Always false: either the lane leaves, or this outcome is none, and the body may come to its end as if it left.
  bool keep_waiting(const CheckedEnv& env) {
    if (in_vain_) return false;
    if (!replaying()) {
      const bool may_leave = options_.stop.has_value();  // deadlines pass only where a rank has gone missing
      may_leave_ = may_leave_ || may_leave;
      in_vain_ = !may_leave || choices_->choose(2) == 0;
    }
    if (!in_vain_) leave(env);
    return false;
  }

  // The end of a rank's kernel, once all its lanes are there, and the beginning of its next.
  void end_kernel(int rank) {
    LaneState* lanes = &state_.lanes[first_lane(rank)];
    bool left = false;
    std::int64_t kept = 0;
    LaneClocks all{memory_.nothing(), memory_.nothing(), memory_.nothing()};
    for (std::size_t i = 0; i < lanes_per_rank_; ++i) {
      if (lanes[i].status != kCallDone) return;
      left = left || lanes[i].left != 0;
      kept += lanes[i].kept;
      join(all.known, memory_.clock(lanes[i].known));
      join(all.acquired, memory_.clock(lanes[i].acquired));
      join(all.released, memory_.clock(lanes[i].released));
    }
    const int call = static_cast<int>(lanes[0].call);
    if (!left && kept != options_.kept(rank, call)) {
      throw Violation{format("rank {} kept {} packs of {} in call {}", rank, kept, options_.kept(rank, call), call)};
    }
    if (options_.kernel_fence) all.fence();
    const Stop* stop = options_.stop ? &*options_.stop : nullptr;
    const bool stops = stop != nullptr && !stop->midway && stop->rank == rank && stop->call == call + 1;
    const bool gone = left || stops || call + 1 == options_.calls;
    for (std::size_t i = 0; i < lanes_per_rank_; ++i) {
      LaneState next;
      if (gone) {
        lanes[i] = LaneState{.status = kGone};
        continue;
      }
      next.call = static_cast<std::uint32_t>(call + 1);
      next.seen = next.arrival = seen_.number({});
      next.counts = lanes[i].counts;
      next.known = memory_.number(all.known);
      next.acquired = memory_.number(all.acquired);
      next.released = memory_.number(all.released);
      lanes[i] = next;
    }
  }

  // Makes states equal that differ only in what nobody can tell any more. An inbox has one reader, its rank.
  void forget() {
    for (int rank = 0; rank < options_.world_size; ++rank) {
      VectorClock known(memory_.nothing().size(), 0xffff);
      for (std::size_t i = first_lane(rank); i < first_lane(rank) + lanes_per_rank_; ++i) {
        if (state_.lanes[i].status == kGone) continue;
        const VectorClock& lane = memory_.clock(state_.lanes[i].known);
        for (std::size_t j = 0; j < known.size(); ++j) known[j] = std::min(known[j], lane[j]);
      }
      const Id id = memory_.number(known);
      for (std::size_t i = 0; i < places_per_rank_; ++i) {
        const std::size_t at = static_cast<std::size_t>(rank) * places_per_rank_ + i;
        memory_.forget(state_.places[at], at, id);
      }
    }
  }

  // For people.

  template <class Text>
  void note(const CheckedEnv& env, const Text& text) {
    if (tracing_) trace_ += format("  rank {} lane {} call {}: {}\n", env.rank(), env.lane(), lane_.call, text());
  }
  std::string name_of(std::size_t at) const {
    const std::size_t rank = at / places_per_rank_, place = at % places_per_rank_;
    const std::size_t num_units = places_per_rank_ - static_cast<std::size_t>(layout_.num_words());
    if (place >= num_units) return format("word {} of rank {}", place - num_units, rank);
    return format("packet {} unit {} of rank {}", place / units_, place % units_, rank);
  }
  std::string waiting_of(const State& state) const {
    std::string text;
    for (std::size_t i = 0; i < state.lanes.size(); ++i) {
      if (state.lanes[i].status == kGone) continue;
      text += format("{}lane {} of rank {} waits in call {}", text.empty() ? "" : ", ", i % lanes_per_rank_,
                     i / lanes_per_rank_, state.lanes[i].call);
    }
    return text;
  }
  std::string trace_of_path() {
    tracing_ = true;
    for (auto& [state, lane, choices] : path_) {
      if (lane == kNoLane) trace_ += format("  rank {} stops\n", options_.stop->rank);
      if (lane == kNoLane) continue;
      try {
        choices.rewind();
        step(state, lane, choices);
      } catch (const Violation&) {  // the last step
      }
    }
    return trace_;
  }

  static constexpr std::size_t kNoLane = ~std::size_t{0};
  struct Taken {
    State state;
    std::size_t lane;
    Choices choices;
  };

  const CheckOptions& options_;
  const std::function<LaneResult(CheckedEnv&, int)>& body_;
  InboxLayout layout_;
  std::size_t units_, places_per_rank_, lanes_per_rank_;
  WeakMemory memory_;
  Numbered<std::uint64_t> seen_;
  Numbered<std::uint32_t> counts_;
  std::unordered_set<Fingerprint, FingerprintHash> visited_;
  std::deque<Taken> path_;
  CheckReport report_;
  bool tracing_ = false;
  std::string trace_;

  // Of the step that runs.
  State state_;
  std::size_t lane_index_ = 0;
  LaneState lane_;
  Choices* choices_ = nullptr;
  LaneClocks clocks_;
  std::vector<std::uint64_t> seen_now_;
  std::vector<std::uint32_t> counts_now_, next_counts_, emptied_;
  std::size_t num_ops_ = 0, num_seen_ = 0;
  bool stored_ = false;   // others may see what it did
  bool in_vain_ = false;  // it polled in vain: what it does from there on is not done
  bool left_ = false;
  bool may_leave_ = false;  // it polled in vain, and could have given up
};

int CheckedEnv::world_size() const {
  return checker_->options_.world_size;
}
int CheckedEnv::num_blocks() const {
  return checker_->options_.blocks;
}
int CheckedEnv::num_threads() const {
  return checker_->options_.threads;
}
const InboxLayout& CheckedEnv::layout() const {
  return checker_->layout_;
}
std::uint32_t CheckedEnv::generation() const {
  return advance_generation(checker_->options_.first_generation, checker_->lane_.call);
}
std::int64_t CheckedEnv::last_num_packs() const {
  const std::size_t call = checker_->lane_.call;
  return call == 0 ? 0 : checker_->options_.packs[call - 1];
}
void CheckedEnv::put_halves(const Area& area, int to, int slot, std::int64_t index, const Pack& pack) {
  checker_->put(*this, to, area, slot, index, pack);
}
void CheckedEnv::put_words(const Area& area, int to, int slot, std::int64_t index, const Pack& pack) {
  checker_->put(*this, to, area, slot, index, pack);
}
Pack CheckedEnv::get_halves(const Area& area, int slot, std::int64_t index) {
  return checker_->get(*this, area, slot, index);
}
Pack CheckedEnv::get_words(const Area& area, int slot, std::int64_t index) {
  return checker_->get(*this, area, slot, index);
}
void CheckedEnv::refill(const Area& area, int slot, std::int64_t index, const Pack& pack) {
  checker_->put(*this, rank_, area, slot, index, pack);
}
bool CheckedEnv::keep_waiting(Waiting&) {
  return checker_->keep_waiting(*this);
}
std::uint32_t CheckedEnv::sent(int to) const {
  return checker_->counts_now_[static_cast<std::size_t>(to)];
}
std::uint32_t CheckedEnv::received(int from) const {
  return checker_->counts_now_[checker_->ranks() + static_cast<std::size_t>(from)];
}
std::uint32_t CheckedEnv::emptied(int to) const {
  return checker_->emptied_[static_cast<std::size_t>(to)];
}
void CheckedEnv::add_sent(int to, std::int64_t chunks) {
  checker_->next_counts_[static_cast<std::size_t>(to)] = advance_generation(sent(to), chunks);
}
void CheckedEnv::add_received(int from, std::int64_t chunks) {
  checker_->next_counts_[checker_->ranks() + static_cast<std::size_t>(from)] =
      advance_generation(received(from), chunks);
}
bool generation_reached(const CheckedWord& seen, std::uint32_t wanted) {
  const CheckedEnv& env = *seen.env;
  return env.checker_->load_reached(env, env.checker_->word_place(env.rank(), seen.index), wanted);
}
void CheckedEnv::raise(int to, std::int64_t index, std::uint32_t value) {
  checker_->store(*this, checker_->word_place(to, index), value, true);
}
void CheckedEnv::raise_relaxed(int to, std::int64_t index, std::uint32_t value) {
  checker_->store(*this, checker_->word_place(to, index), value, false);
}
void CheckedEnv::sync_block() {
  checker_->exchange(*this, {0});
}
bool CheckedEnv::sync_block(bool ok) {
  for (const std::uint64_t vote : checker_->exchange(*this, {ok})) ok = ok && vote != 0;
  return ok;
}
bool CheckedEnv::left() const {
  return checker_->left_;
}

CheckReport check(const CheckOptions& options, const std::function<LaneResult(CheckedEnv&, int)>& body) {
  return Checker(options, body).run();
}

}  // namespace tandem
