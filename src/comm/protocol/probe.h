#pragma once
// A litmus of links: ranks exchange messages whose bits the receiver can compute by itself, in the very forms in which
// collectives travel (packets.h, ring.h), and judge what they find in their own memory.
//
// In a round, the same lanes of all ranks send a message to each peer in turn: a lane takes those of the ranks before
// it, sends its own, and takes those of the ranks after it. So it is always there already when a message comes, and
// sees it come; were all to send first, the later half would find everything in place. It sends in round n + 1 only
// after it has n from all, so a message of n + 2 is never on its way while one of n is still looked for: two buffers
// are enough. What else can lie in a message's place is what was there before, `old`: a word that equals it where tag,
// sentinel or flag says that the message is there was overtaken; any other wrong word is corrupt.
//
// Blocks take forms in turn: tagged packets, sentinel packets, bulk. In the first two, a message is a pack; in bulk it
// is a chunk of a whole block with its flag. So packets race bulk traffic. Some go after a short pause.
//
// After a corrupt or an overtaken message a lane goes on and counts. After a lost one it ends, and so do those lanes
// that wait for it: their claims are refuted by how far its rounds went (ProbeReport::sent). For this, the deadline of
// a wait must end that lane only.

#include "comm/protocol/ring.h"
#include "comm/trust/probe_outcome.h"

namespace tandem {

enum class ProbeForm { kTagged, kSentinel, kBulk };
inline constexpr int kProbeForms = 3;

/// What is exchanged; the same on all ranks but for `peers`.
struct ProbePlan {
  std::uint32_t seed = 1;
  std::uint32_t peers = 0;        ///< a bit a rank with which this one exchanges messages, and which does so with it
  std::uint32_t first_round = 1;  ///< where the probe before in this memory ended; all pairs had the same rounds there
  std::uint32_t rounds = 0;

  TANDEM_HD bool takes_part(int rank) const { return (peers >> rank & 1) != 0; }
  TANDEM_HD std::uint32_t end() const { return first_round + rounds; }
};

inline constexpr std::int32_t kProbeFlag = -1;  ///< the failure is that of a chunk's flag

/// What a lane found of the messages of one peer. In bulk, of its share of each.
struct ProbeReport {
  std::uint32_t rounds = 0;    ///< judged whole, those of all peers
  std::uint32_t sent = 0;      ///< the last round whose messages have gone to all peers
  std::uint32_t failures = 0;  ///< messages that were not right; the rest is about the first
  ProbeOutcome outcome = ProbeOutcome::kNotTried;
  std::uint32_t round = 0;
  std::int32_t index = 0;  ///< of the pack in its slot, or kProbeFlag
  std::int32_t word = 0;   ///< of the message's words in memory
  std::uint32_t expected = 0, seen = 0;
};

/// The memory of a probe: zeroed, one_shot_sentinel filled with the sentinel.
TANDEM_HD Rooms probe_rooms(int blocks, int threads, int packs_per_thread) {
  Rooms rooms;
  rooms.one_shot_tagged = std::int64_t{blocks} * threads;
  rooms.one_shot_sentinel = rooms.one_shot_tagged;
  rooms.ring_tagged = 1;
  rooms.ring_bulk = std::int64_t{threads} * packs_per_thread;
  rooms.ring_blocks = blocks;
  return rooms;
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
TANDEM_HD std::uint64_t mix_bits(std::uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/// The messages of an ordered pair. `place`: of a pack among those of a round.
class ProbeMessages {
 public:
  TANDEM_HD ProbeMessages(std::uint32_t seed, int from, int to)
      : key_(mix_bits(std::uint64_t{seed} << 16 | static_cast<std::uint32_t>(from << 8 | to))) {}
  TANDEM_HD Pack pack(std::int64_t place, std::uint32_t round) const {
    const std::uint64_t low = mix_bits(key_ ^ (static_cast<std::uint64_t>(place) << 32 | round));
    const std::uint64_t high = mix_bits(low + key_);
    return {{static_cast<std::uint32_t>(low), static_cast<std::uint32_t>(low >> 32), static_cast<std::uint32_t>(high),
             static_cast<std::uint32_t>(high >> 32)}};
  }

 private:
  std::uint64_t key_;
};

// The forms. An Image is a pack as it lies in memory; of(pack, round) is right, old(...) what lay there before.
// vouches(image, w): whether what was found says that word w is there.

struct TaggedProbe {
  static constexpr ProbeForm kForm = ProbeForm::kTagged;
  static constexpr int kParts = 2;
  struct Image {
    Pack parts[kParts];
  };
  TANDEM_HD static const Area& area(const InboxLayout& layout) { return layout.one_shot_tagged; }
  TANDEM_HD static int slot(const InboxLayout& layout, int from, std::uint32_t round) {
    return static_cast<int>(round % TaggedPackets::kBuffers) * layout.world_size + from;
  }
  template <class Env>
  TANDEM_HD static void put(Env& env, int to, std::int64_t index, const Pack& pack, std::uint32_t round) {
    const InboxLayout& layout = env.layout();
    TaggedPackets::put(env, area(layout), to, slot(layout, env.rank(), round), index, pack, round);
  }
  template <class Env>
  TANDEM_HD static Image get(Env& env, int from, std::int64_t index, std::uint32_t round) {
    const auto received = TaggedPackets::get(env, area(env.layout()), slot(env.layout(), from, round), index);
    return {{received.low, received.high}};
  }
  TANDEM_HD static Image of(const Pack& pack, std::uint32_t round) {
    return {{{{pack.words[0], round, pack.words[1], round}}, {{pack.words[2], round, pack.words[3], round}}}};
  }
  TANDEM_HD static Image old(const ProbeMessages& messages, std::int64_t place, std::uint32_t round) {
    if (round <= TaggedPackets::kBuffers) return {};
    return of(messages.pack(place, round - TaggedPackets::kBuffers), round - TaggedPackets::kBuffers);
  }
  /// A half is there when its tag is.
  TANDEM_HD static bool vouches(const Image& image, int w, std::uint32_t round) {
    return w % 2 == 0 && image.parts[w / 4].words[w % 4 + 1] == round;
  }
};

struct SentinelProbe {
  static constexpr ProbeForm kForm = ProbeForm::kSentinel;
  static constexpr int kParts = 1;
  struct Image {
    Pack parts[kParts];
  };
  TANDEM_HD static const Area& area(const InboxLayout& layout) { return layout.one_shot_sentinel; }
  TANDEM_HD static int slot(const InboxLayout& layout, int from, std::uint32_t round) {
    return static_cast<int>(round % SentinelPackets::kBuffers) * layout.world_size + from;
  }
  template <class Env>
  TANDEM_HD static void put(Env& env, int to, std::int64_t index, const Pack& pack, std::uint32_t round) {
    const InboxLayout& layout = env.layout();
    SentinelPackets::put(env, area(layout), to, slot(layout, env.rank(), round), index, SentinelPackets::clean(pack),
                         round);
  }
  template <class Env>
  TANDEM_HD static Image get(Env& env, int from, std::int64_t index, std::uint32_t round) {
    return {{SentinelPackets::get(env, area(env.layout()), slot(env.layout(), from, round), index)}};
  }
  TANDEM_HD static Image of(const Pack& pack, std::uint32_t) { return {{SentinelPackets::clean(pack)}}; }
  /// What was there before it was refilled.
  TANDEM_HD static Image old(const ProbeMessages& messages, std::int64_t place, std::uint32_t round) {
    if (round <= SentinelPackets::kBuffers) return {{SentinelPackets::sentinel()}};
    return of(messages.pack(place, round - SentinelPackets::kBuffers), round);
  }
  TANDEM_HD static bool vouches(const Image& image, int w, std::uint32_t) {
    return image.parts[0].words[w] != SentinelPackets::kSentinel;
  }
};

/// A pack of a chunk whose flag has been seen.
struct BulkProbe {
  static constexpr ProbeForm kForm = ProbeForm::kBulk;
  static constexpr int kParts = 1;
  struct Image {
    Pack parts[kParts];
  };
  template <class Env>
  TANDEM_HD static void put(Env& env, int to, std::int64_t index, const Pack& pack, std::uint32_t round) {
    const InboxLayout& layout = env.layout();
    env.put_words(layout.ring_bulk, to, layout.ring_slot(env.block(), env.rank(), round), index, pack);
  }
  template <class Env>
  TANDEM_HD static Image get(Env& env, int from, std::int64_t index, std::uint32_t round) {
    return {{env.get_words(env.layout().ring_bulk, env.layout().ring_slot(env.block(), from, round), index)}};
  }
  TANDEM_HD static Image of(const Pack& pack, std::uint32_t) { return {{pack}}; }
  TANDEM_HD static Image old(const ProbeMessages& messages, std::int64_t place, std::uint32_t round) {
    return round <= kRingSlots ? Image{} : of(messages.pack(place, round - kRingSlots), round);
  }
  TANDEM_HD static bool vouches(const Image&, int, std::uint32_t) { return true; }
};

/// Notes that a message failed.
TANDEM_HD void note_failure(ProbeReport& report, ProbeOutcome outcome, std::uint32_t round, std::int64_t index,
                            int word = 0, std::uint32_t expected = 0, std::uint32_t seen = 0) {
  if (report.failures++ > 0) return;
  report.outcome = outcome;
  report.round = round;
  report.index = static_cast<std::int32_t>(index);
  report.word = word;
  report.expected = expected;
  report.seen = seen;
}

/// Waits for the pack from `from` that lies at `index` of a slot and judges it. Whether it came in time, right or
/// wrong.
template <class Form, class Env>
TANDEM_HD bool judge_message(Env& env, const ProbePlan& plan, int from, std::int64_t place, std::int64_t index,
                             std::uint32_t round, ProbeReport& report) {
  const ProbeMessages messages(plan.seed, from, env.rank());
  const typename Form::Image right = Form::of(messages.pack(place, round), round);
  Waiting waiting{.phase = static_cast<int>(Form::kForm), .peer = from};
  bool overtaken = false;
  while (true) {
    const typename Form::Image found = Form::get(env, from, index, round);
    int missing = -1, wrong = -1;  // words: the last that is not right, and the last that is said to be there
    TANDEM_UNROLL
    for (int w = 0; w < 4 * Form::kParts; ++w) {
      if (found.parts[w / 4].words[w % 4] == right.parts[w / 4].words[w % 4]) continue;
      missing = w;
      if (Form::vouches(found, w, round)) wrong = w;
    }
    if (missing < 0) return true;
    const bool in_time = env.keep_waiting(waiting);
    if (in_time && (wrong < 0 || overtaken)) continue;

    // Rare: something is said to be there and is not right, or it is too late.
    const typename Form::Image old = Form::old(messages, place, round);
    int foreign = -1;
    for (int w = 0; w < 4 * Form::kParts; ++w) {
      const std::uint32_t seen = found.parts[w / 4].words[w % 4];
      const bool awaited = seen == old.parts[w / 4].words[w % 4] ||
                           (Form::kForm == ProbeForm::kSentinel && seen == SentinelPackets::kSentinel);
      if (seen != right.parts[w / 4].words[w % 4] && !awaited && (!in_time || Form::vouches(found, w, round)))
        foreign = w;
    }
    const int w = foreign >= 0 ? foreign : wrong >= 0 ? wrong : missing;
    const ProbeOutcome outcome = foreign >= 0 ? ProbeOutcome::kCorrupt
                                 : in_time    ? ProbeOutcome::kOutOfOrder
                                              : ProbeOutcome::kLost;
    // A message counts once; if it never comes it was not overtaken, but lost.
    if (overtaken) --report.failures;
    note_failure(report, outcome, round, index, w, right.parts[w / 4].words[w % 4], found.parts[w / 4].words[w % 4]);
    if (outcome != ProbeOutcome::kOutOfOrder) return in_time;
    overtaken = true;
  }
}

/// Some messages go late. The lanes of a warp pause together: it is as slow as its slowest anyway.
template <class Env>
TANDEM_HD void pause_before_message(Env& env, const ProbePlan& plan, std::uint32_t round) {
  const auto who = static_cast<std::uint64_t>(env.lane() / 32 * env.world_size() + env.rank());
  const std::uint64_t chance = mix_bits((std::uint64_t{plan.seed} << 32 | round) ^ who << 40);
  if (chance % 8 != 0) return;
  for (std::uint64_t i = chance >> 32 & 15; i > 0; --i) env.get_words(env.layout().ring_bulk, 0, 0);  // takes a while
}

/// The turns of a round.
class ProbeTurns {
 public:
  template <class Env>
  TANDEM_HD ProbeTurns(Env& env, const ProbePlan& plan, std::uint32_t round)
      : plan_(plan), world_size_(env.world_size()), shift_(static_cast<int>((round + env.block()) % world_size_)) {
    my_turn_ = turn_of(env.rank());
  }
  TANDEM_HD bool before_me(int peer) const { return plan_.takes_part(peer) && turn_of(peer) < my_turn_; }
  TANDEM_HD bool after_me(int peer) const { return plan_.takes_part(peer) && turn_of(peer) > my_turn_; }
  /// body(peer) for the peers that `which` names, in turn, until it is false. Whether all were true.
  template <class Which, class Body>
  TANDEM_HD bool for_each(const Which& which, const Body& body) const {
    for (int turn = 0; turn < world_size_; ++turn) {
      const int peer = (turn + world_size_ - shift_) % world_size_;
      if (which(peer) && !body(peer)) return false;
    }
    return true;
  }

 private:
  TANDEM_HD int turn_of(int rank) const { return (rank + shift_) % world_size_; }
  const ProbePlan& plan_;
  int world_size_, shift_, my_turn_;
};

/// How far a lane has come; told at the end, as reports may lie far away.
struct ProbeProgress {
  std::uint32_t rounds = 0, sent = 0;
};

template <class Form, class Env, class ReportOf>
TANDEM_HD ProbeProgress probe_packets(Env& env, const ProbePlan& plan, const ReportOf& report_of) {
  const std::int64_t place = env.lane();
  ProbeProgress progress;
  for (std::uint32_t round = plan.first_round; round < plan.end(); ++round) {
    const ProbeTurns turns(env, plan, round);
    const auto take = [&](int from) {
      return judge_message<Form>(env, plan, from, place, place, round, report_of(from));
    };
    const auto send = [&](int to) {
      Form::put(env, to, place, ProbeMessages(plan.seed, env.rank(), to).pack(place, round), round);
      return true;
    };
    const auto all = [&](int peer) { return plan.takes_part(peer); };
    if (!turns.for_each([&](int r) { return turns.before_me(r); }, take)) break;
    pause_before_message(env, plan, round);
    turns.for_each(all, send);
    progress.sent = round;
    if constexpr (Form::kForm == ProbeForm::kSentinel) {  // the buffer of the round before is that of the next but one
      turns.for_each(all, [&](int from) {
        env.refill(Form::area(env.layout()), Form::slot(env.layout(), from, round + 2), place,
                   SentinelPackets::sentinel());
        return true;
      });
    }
    if (!turns.for_each([&](int r) { return turns.after_me(r); }, take)) break;
    ++progress.rounds;
    // Between calls a kernel's end does it: peers write into a buffer only after it has been refilled.
    if constexpr (Form::kForm == ProbeForm::kSentinel) env.fence();
  }
  return progress;
}

/// The block takes the chunks of the peers that `which` names. Whether all have come.
template <class Env, class Which, class ReportOf>
TANDEM_HD bool take_chunks(Env& env, const ProbePlan& plan, const ProbeTurns& turns, std::uint32_t round,
                           const Which& which, const ReportOf& report_of) {
  const InboxLayout& layout = env.layout();
  const std::int64_t packs = layout.ring_bulk.slot_packets, first = env.block() * packs;
  const auto word_of = [&](int from) { return layout.filled_word(env.block(), from); };
  const auto wanted = [&](int) { return round; };
  if (!wait_for_words(env, static_cast<int>(ProbeForm::kBulk), which, word_of, wanted)) {
    for (int r = env.thread(); r < env.world_size(); r += env.num_threads()) {
      if (!which(r)) continue;
      const std::uint32_t seen = env.word(word_of(r));
      if (seen != round) note_failure(report_of(r), ProbeOutcome::kLost, round, kProbeFlag, 0, round, seen);
    }
    return false;
  }
  // Packs that other threads have put, and others again have waited for.
  const std::int64_t begin = (env.thread() + std::int64_t{round}) % env.num_threads();
  return env.sync_block(turns.for_each(which, [&](int from) {
    for (std::int64_t i = begin; i < packs; i += env.num_threads()) {
      if (!judge_message<BulkProbe>(env, plan, from, first + i, i, round, report_of(from))) return false;
    }
    return true;
  }));
}

template <class Env, class ReportOf>
TANDEM_HD ProbeProgress probe_bulk(Env& env, const ProbePlan& plan, const ReportOf& report_of) {
  const InboxLayout& layout = env.layout();
  const std::int64_t packs = layout.ring_bulk.slot_packets, first = env.block() * packs;
  ProbeProgress progress;
  for (std::uint32_t round = plan.first_round; round < plan.end(); ++round) {
    const ProbeTurns turns(env, plan, round);
    const auto all = [&](int peer) { return plan.takes_part(peer); };
    if (!take_chunks(env, plan, turns, round, [&](int r) { return turns.before_me(r); }, report_of)) break;
    pause_before_message(env, plan, round);
    turns.for_each(all, [&](int to) {
      const ProbeMessages messages(plan.seed, env.rank(), to);
      for (std::int64_t i = env.thread(); i < packs; i += env.num_threads()) {
        BulkProbe::put(env, to, i, messages.pack(first + i, round), round);
      }
      return true;
    });
    env.sync_block();
    for (int r = env.thread(); r < env.world_size(); r += env.num_threads()) {
      if (all(r)) env.raise(r, layout.filled_word(env.block(), env.rank()), round);
    }
    progress.sent = round;
    if (!take_chunks(env, plan, turns, round, [&](int r) { return turns.after_me(r); }, report_of)) break;
    ++progress.rounds;
  }
  return progress;
}

/// One lane's part of a probe. `reports`: [world_size][num_lanes], zeroed, of this rank.
template <class Env>
TANDEM_HD void probe_links(Env& env, const ProbePlan& plan, ProbeReport* reports) {
  const auto report_of = [&](int peer) -> ProbeReport& { return reports[peer * env.num_lanes() + env.lane()]; };
  const int form = env.block() % kProbeForms;
  const ProbeProgress progress =
      form == static_cast<int>(ProbeForm::kTagged)     ? probe_packets<TaggedProbe>(env, plan, report_of)
      : form == static_cast<int>(ProbeForm::kSentinel) ? probe_packets<SentinelProbe>(env, plan, report_of)
                                                       : probe_bulk(env, plan, report_of);
  for (int r = 0; r < env.world_size(); ++r) {
    if (!plan.takes_part(r)) continue;
    report_of(r).rounds = progress.rounds;
    report_of(r).sent = progress.sent;
  }
}

/// One lane of each of two ranks: a packet there and one back, plan.rounds times. Whether all came.
template <class Env>
TANDEM_HD bool ping_pong(Env& env, const ProbePlan& plan, int peer) {
  const Area& area = env.layout().ring_tagged;
  for (std::uint32_t round = plan.first_round; round < plan.end(); ++round) {
    for (int leg = 0; leg < 2; ++leg) {
      if ((leg == 0) == (env.rank() < peer)) {
        env.put_halves(area, peer, env.layout().ring_slot(0, env.rank(), round), 0, Pack{{round, round, round, round}});
        continue;
      }
      Waiting waiting{.phase = leg, .peer = peer};
      while (env.get_halves(area, env.layout().ring_slot(0, peer, round), 0).words[1] != round) {
        if (!env.keep_waiting(waiting)) return false;
      }
    }
  }
  return true;
}

}  // namespace tandem
