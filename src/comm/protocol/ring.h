#pragma once
// Collectives of any size over rings: for each block of the grid and each ordered pair of ranks, kRingSlots chunks in
// the receiver's inbox. A sender waits until the chunk kRingSlots before is emptied, so nobody is overrun, whoever
// sends to whom and however little comes back. Chunks of a ring have sequence numbers, generations like those of
// packets.h.
//
// A chunk travels in one of two forms. Tagged: packets that carry the sequence number, for small ones. Bulk: plain
// packs, then a word that says so; one fence a chunk. The forms have memory of their own, since bulk data may look like
// any tag.
//
// Deadlock: in each step a rank first sends what it has to send and then receives. To send chunk c it waits for a peer
// to have emptied chunk c - kRingSlots, an earlier step of that peer.
//
// Errors name the phase: 0 waits for room, 1 for data, 2 for a result.

#include "comm/protocol/all_reduce.h"

namespace tandem {

/// As kBatch in all_reduce.h.
inline constexpr int kRingBatch = 4;

struct TaggedChunks {
  static constexpr bool kTagged = true;
  TANDEM_HD static const Area& area(const InboxLayout& layout) { return layout.ring_tagged; }
  TANDEM_HD static std::int64_t room(const InboxLayout& layout) { return layout.ring_tagged.slot_packets / 2; }
};
struct BulkChunks {
  static constexpr bool kTagged = false;
  TANDEM_HD static const Area& area(const InboxLayout& layout) { return layout.ring_bulk; }
  TANDEM_HD static std::int64_t room(const InboxLayout& layout) { return layout.ring_bulk.slot_packets; }
};

/// The chunks in which one block moves its stripe of a message.
struct Stripe {
  std::int64_t begin = 0, end = 0, chunk = 0;  ///< packs
  TANDEM_HD std::int64_t num_chunks() const { return (end - begin + chunk - 1) / chunk; }
  TANDEM_HD std::int64_t first(std::int64_t step) const { return begin + step * chunk; }
  TANDEM_HD std::int64_t count(std::int64_t step) const {
    const std::int64_t rest = end - first(step);
    return rest < chunk ? rest : chunk;
  }
};
template <class Form, class Env>
TANDEM_HD Stripe stripe_of(Env& env, std::int64_t packs) {
  const PackShares blocks{packs, env.num_blocks()};
  const std::int64_t first = blocks.first(env.block());
  return {first, first + blocks.count(env.block()), Form::room(env.layout())};
}

/// Waits for word_of(peer) to come to wanted(peer), for each peer that takes part, a peer a thread. Whether all have.
template <class Env, class TakesPart, class WordOf, class Wanted>
TANDEM_HD bool wait_for_words(Env& env, int phase, const TakesPart& takes_part, const WordOf& word_of,
                              const Wanted& wanted) {
  bool ok = true;
  for (int peer = env.thread(); peer < env.world_size(); peer += env.num_threads()) {
    if (peer == env.rank() || !takes_part(peer)) continue;
    Waiting waiting{.phase = phase, .peer = peer};
    while (ok && !generation_reached(env.word(word_of(peer)), wanted(peer))) ok = env.keep_waiting(waiting);
  }
  return env.sync_block(ok);
}

inline constexpr std::int64_t kNothing = -1;  ///< packs of a chunk that is not sent; an empty one has 0

/// Chunk `step` of this call to each rank with count(to) of at least 0: pack_of(to, i) is its pack i.
template <class Form, class Env, class Count, class PackOf>
TANDEM_HD bool send_chunks(Env& env, std::int64_t step, const Count& count, const PackOf& pack_of) {
  const InboxLayout& layout = env.layout();
  const int world_size = env.world_size(), me = env.rank();
  const auto goes = [&](int to) { return count(to) != kNothing; };
  const auto sequence_of = [&](int to) { return advance_generation(env.sent(to), step + 1); };
  const auto room_of = [&](int to) { return advance_generation(sequence_of(to), -kRingSlots); };
  bool room = true;
  for (int r = 0; r < world_size; ++r) {
    if (r != me && goes(r)) room = room && generation_reached(env.emptied(r), room_of(r));
  }
  if (!room) {
    room = wait_for_words(env, 0, goes, [&](int to) { return layout.emptied_word(env.block(), to); }, room_of);
  }
  if (!room) return false;
  int to = me;
  for (int k = 1; k < world_size; ++k) {  // the next rank first, which spreads the load over the links
    to = to + 1 == world_size ? 0 : to + 1;
    const std::uint32_t sequence = sequence_of(to);
    const int slot = layout.ring_slot(env.block(), me, sequence);
    const std::int64_t packs = count(to);
    for (std::int64_t begin = env.thread(); begin < packs; begin += kRingBatch * env.num_threads()) {
      Pack batch[kRingBatch];
      TANDEM_UNROLL
      for (int j = 0; j < kRingBatch; ++j) {
        const std::int64_t i = begin + j * env.num_threads();
        if (i < packs) batch[j] = pack_of(to, i);
      }
      TANDEM_UNROLL
      for (int j = 0; j < kRingBatch; ++j) {
        const std::int64_t i = begin + j * env.num_threads();
        if (i >= packs) break;
        if constexpr (Form::kTagged) {
          TaggedPackets::put(env, Form::area(layout), to, slot, i, batch[j], sequence);
        } else {
          env.put_words(Form::area(layout), to, slot, i, batch[j]);
        }
      }
    }
  }
  if constexpr (!Form::kTagged) {
    env.sync_block();
    for (int r = env.thread(); r < world_size; r += env.num_threads()) {
      if (r != me && goes(r)) env.raise(r, layout.filled_word(env.block(), me), sequence_of(r));
    }
  }
  return true;
}

/// Tells the senders that chunk `step` is emptied. Before sequence numbers begin again its tagged slot is zeroed, so
/// that no packet of the last pass is taken for one of the next. After a sync_block.
/// A tagged packet was whole when it was read, so what is written over it later cannot have been read in its place, and
/// the word needs no order. But one that tells of zeroed slots does, and that may be one of the next pass: a sender
/// that sees it need not have seen those before. A bulk chunk has nothing to tell by.
template <class Form, class Env, class TakesPart>
TANDEM_HD void empty_chunks(Env& env, std::int64_t step, const TakesPart& takes_part) {
  const InboxLayout& layout = env.layout();
  const auto sequence_of = [&](int r) { return advance_generation(env.received(r), step + 1); };
  bool cleaned = false;
  for (int r = 0; r < env.world_size(); ++r) {
    if (r == env.rank() || !takes_part(r) || sequence_of(r) <= kLastGeneration - kRingSlots) continue;
    const int slot = layout.ring_slot(env.block(), r, sequence_of(r));
    for (std::int64_t i = env.thread(); i < layout.ring_tagged.slot_packets; i += env.num_threads()) {
      env.refill(layout.ring_tagged, slot, i, Pack{});
    }
    cleaned = true;
  }
  if (cleaned) env.sync_block();
  for (int r = env.thread(); r < env.world_size(); r += env.num_threads()) {
    if (r == env.rank() || !takes_part(r)) continue;
    const std::int64_t word = layout.emptied_word(env.block(), env.rank());
    const std::uint32_t sequence = sequence_of(r);
    const bool needs_order = !Form::kTagged || cleaned || sequence <= kRingSlots;
    needs_order ? env.raise(r, word, sequence) : env.raise_relaxed(r, word, sequence);
  }
}

/// Waits until a tagged pack has come. Whether it has.
template <class Env>
TANDEM_HD bool get_tagged(Env& env, int from, int slot, std::int64_t i, std::uint32_t sequence, int phase, Pack& pack) {
  const Area& area = env.layout().ring_tagged;
  Waiting waiting{.phase = phase, .peer = from};
  TaggedPackets::Received received;
  while (!TaggedPackets::whole(received = TaggedPackets::get(env, area, slot, i), sequence)) {
    if (!env.keep_waiting(waiting)) return false;
  }
  pack = TaggedPackets::pack(received);
  return true;
}

/// Chunk `step` of this call from each rank with count(from) of at least 0: consume(from, i, pack) gets its packs.
template <class Form, class Env, class Count, class Consume>
TANDEM_HD bool receive_chunks(Env& env, std::int64_t step, int phase, const Count& count, const Consume& consume) {
  const InboxLayout& layout = env.layout();
  const int world_size = env.world_size(), me = env.rank();
  const auto comes = [&](int from) { return count(from) != kNothing; };
  const auto sequence_of = [&](int from) { return advance_generation(env.received(from), step + 1); };
  if constexpr (!Form::kTagged) {
    const auto word_of = [&](int from) { return layout.filled_word(env.block(), from); };
    if (!wait_for_words(env, phase, comes, word_of, sequence_of)) return false;
  }
  bool ok = true;
  for (int k = 1; ok && k < world_size; ++k) {
    const int from = (me + world_size - k) % world_size;
    const std::uint32_t sequence = sequence_of(from);
    const int slot = layout.ring_slot(env.block(), from, sequence);
    const std::int64_t packs = count(from);
    for (std::int64_t begin = env.thread(); ok && begin < packs; begin += kRingBatch * env.num_threads()) {
      Pack batch[kRingBatch];
      TANDEM_UNROLL
      for (int j = 0; j < kRingBatch; ++j) {
        const std::int64_t i = begin + j * env.num_threads();
        if (i >= packs || !ok) break;
        if constexpr (Form::kTagged) {
          ok = get_tagged(env, from, slot, i, sequence, phase, batch[j]);
        } else {
          batch[j] = env.get_words(Form::area(layout), slot, i);
        }
      }
      TANDEM_UNROLL
      for (int j = 0; j < kRingBatch; ++j) {
        const std::int64_t i = begin + j * env.num_threads();
        if (ok && i < packs) consume(from, i, batch[j]);
      }
    }
  }
  if (!env.sync_block(ok)) return false;
  empty_chunks<Form>(env, step, comes);
  return true;
}

/// Chunk `step`, of `count` packs, from all other ranks, summed in rank order with this rank's own, mine(i):
/// consume(i, sum).
template <class Form, DType kDType, class Env, class PackOf, class Consume>
TANDEM_HD bool sum_chunks(Env& env, std::int64_t step, std::int64_t count, const PackOf& mine, const Consume& consume) {
  const InboxLayout& layout = env.layout();
  const int world_size = env.world_size(), me = env.rank();
  const auto all = [](int) { return true; };
  const auto sequence_of = [&](int r) { return advance_generation(env.received(r), step + 1); };
  if constexpr (!Form::kTagged) {
    const auto word_of = [&](int from) { return layout.filled_word(env.block(), from); };
    if (!wait_for_words(env, 1, all, word_of, sequence_of)) return false;
  }
  bool ok = true;
  for (std::int64_t begin = env.thread(); ok && begin < count; begin += kRingBatch * env.num_threads()) {
    PackSum<kDType> sums[kRingBatch];
    for (int r = 0; ok && r < world_size; ++r) {
      const std::uint32_t sequence = sequence_of(r);
      const int slot = layout.ring_slot(env.block(), r, sequence);
      Pack batch[kRingBatch];
      TANDEM_UNROLL
      for (int j = 0; j < kRingBatch; ++j) {
        const std::int64_t i = begin + j * env.num_threads();
        if (i >= count || !ok) break;
        if (r == me) {
          batch[j] = mine(i);
        } else if constexpr (Form::kTagged) {
          ok = get_tagged(env, r, slot, i, sequence, 1, batch[j]);
        } else {
          batch[j] = env.get_words(Form::area(layout), slot, i);
        }
      }
      TANDEM_UNROLL
      for (int j = 0; j < kRingBatch; ++j) {
        if (ok && begin + j * env.num_threads() < count) sums[j].add(batch[j]);
      }
    }
    TANDEM_UNROLL
    for (int j = 0; j < kRingBatch; ++j) {
      const std::int64_t i = begin + j * env.num_threads();
      if (ok && i < count) consume(i, sums[j].result());
    }
  }
  if (!env.sync_block(ok)) return false;
  empty_chunks<Form>(env, step, all);
  return true;
}

/// This rank's own part, where it is not in place already.
template <class Env>
TANDEM_HD void copy_stripe(Env& env, const Stripe& stripe, ConstView in, View out) {
  if (in.data == out.data) return;
  for (std::int64_t i = stripe.begin + env.thread(); i < stripe.end; i += env.num_threads()) out.store(i, in.load(i));
}

/// send, recv, broadcast, gather and all-gather: `in` to all ranks that sends_to names, out_of(r) from each rank r for
/// which it is not empty, this one included. Views have the same bytes on both ends.
template <class Form, class Env, class SendsTo, class OutOf>
TANDEM_HD void ring_exchange(Env& env, ConstView in, const SendsTo& sends_to, const OutOf& out_of) {
  const int world_size = env.world_size(), me = env.rank();
  const Stripe mine = stripe_of<Form>(env, in.num_packs());
  const auto stripe_from = [&](int r) { return stripe_of<Form>(env, out_of(r).as_const().num_packs()); };
  std::int64_t steps = mine.num_chunks();
  for (int r = 0; r < world_size; ++r) {
    const Stripe theirs = stripe_from(r);
    if (r == me) copy_stripe(env, theirs, in, out_of(r));
    steps = theirs.num_chunks() > steps ? theirs.num_chunks() : steps;
  }
  for (std::int64_t step = 0; step < steps; ++step) {
    const bool sends = send_chunks<Form>(
        env, step, [&](int to) { return step < mine.num_chunks() && sends_to(to) ? mine.count(step) : kNothing; },
        [&](int, std::int64_t i) { return in.load(mine.first(step) + i); });
    const bool receives = sends && receive_chunks<Form>(
                                       env, step, 1,
                                       [&](int from) {
                                         const Stripe theirs = stripe_from(from);
                                         return step < theirs.num_chunks() ? theirs.count(step) : kNothing;
                                       },
                                       [&](int from, std::int64_t i, const Pack& pack) {
                                         out_of(from).store(stripe_from(from).first(step) + i, pack);
                                       });
    if (!receives) return;
  }
  for (int r = 0; r < world_size; ++r) {
    if (r == me) continue;
    if (sends_to(r)) env.add_sent(r, mine.num_chunks());
    env.add_received(r, stripe_from(r).num_chunks());
  }
}

/// share_of(r): rank r's share of this rank's tensor. `out`, as large as the own share, may be that share.
template <class Form, DType kDType, class Env, class ShareOf>
TANDEM_HD void ring_reduce_scatter(Env& env, const ShareOf& share_of, View out) {
  const int world_size = env.world_size(), me = env.rank();
  const auto stripe = [&](int r) { return stripe_of<Form>(env, share_of(r).num_packs()); };
  const ConstView own = share_of(me);
  const Stripe mine = stripe(me);
  std::int64_t steps = 0;
  for (int r = 0; r < world_size; ++r) {
    const std::int64_t chunks = stripe(r).num_chunks();
    steps = chunks > steps ? chunks : steps;
  }
  for (std::int64_t step = 0; step < steps; ++step) {
    const bool sent = send_chunks<Form>(
        env, step,
        [&](int to) {
          const Stripe theirs = stripe(to);
          return step < theirs.num_chunks() ? theirs.count(step) : kNothing;
        },
        [&](int to, std::int64_t i) { return share_of(to).load(stripe(to).first(step) + i); });
    if (!sent) return;
    if (step >= mine.num_chunks()) continue;
    const auto own_pack = [&](std::int64_t i) { return own.load(mine.first(step) + i); };
    const auto keep = [&](std::int64_t i, const Pack& sum) { out.store(mine.first(step) + i, sum); };
    if (!sum_chunks<Form, kDType>(env, step, mine.count(step), own_pack, keep)) return;
  }
  for (int r = 0; r < world_size; ++r) {
    if (r == me) continue;
    env.add_sent(r, stripe(r).num_chunks());
    env.add_received(r, mine.num_chunks());
  }
}

/// Every rank sums a share and sends the result to all others, as all_reduce_two_shot does, in steps of a chunk. In
/// step s a rank sends its contributions to step s + 1, sums those to step s, sends that result, and receives the
/// results of step s - 1. So a ring carries contribution 0, contribution 1, result 0, contribution 2, result 1, ...,
/// and is emptied in that order. Chunks may be empty on some ranks. `out` may be `in`.
template <class Form, DType kDType, class Env>
TANDEM_HD void ring_all_reduce(Env& env, ConstView in, View out) {
  const int world_size = env.world_size(), me = env.rank();
  const PackShares shares{in.num_packs(), world_size};
  const auto stripe = [&](int r) {
    Stripe part = stripe_of<Form>(env, shares.count(r));
    part.begin += shares.first(r);
    part.end += shares.first(r);
    return part;
  };
  const auto count = [](const Stripe& part, std::int64_t step) {
    const std::int64_t packs = part.count(step);
    return packs > 0 ? packs : 0;
  };
  const Stripe mine = stripe(me);
  const std::int64_t steps = stripe(0).num_chunks();  // the largest share's, on all ranks
  const auto contribution = [](std::int64_t step) { return step == 0 ? 0 : 2 * step - 1; };
  const auto result = [&](std::int64_t step) { return step + 1 < steps ? 2 * step + 2 : 2 * step + 1; };
  const auto contribute = [&](std::int64_t step) {
    return step >= steps || send_chunks<Form>(
                                env, contribution(step), [&](int to) { return count(stripe(to), step); },
                                [&](int to, std::int64_t i) { return in.load(stripe(to).first(step) + i); });
  };
  const auto receive_results = [&](std::int64_t step) {
    return receive_chunks<Form>(
        env, result(step), 2, [&](int from) { return count(stripe(from), step); },
        [&](int from, std::int64_t i, const Pack& pack) { out.store(stripe(from).first(step) + i, pack); });
  };
  if (!contribute(0)) return;
  for (std::int64_t step = 0; step < steps; ++step) {
    if (!contribute(step + 1)) return;
    const auto own_pack = [&](std::int64_t i) { return in.load(mine.first(step) + i); };
    const auto keep = [&](std::int64_t i, const Pack& sum) { out.store(mine.first(step) + i, sum); };
    if (!sum_chunks<Form, kDType>(env, contribution(step), count(mine, step), own_pack, keep)) return;
    const bool sent = send_chunks<Form>(
        env, result(step), [&](int) { return count(mine, step); },
        [&](int, std::int64_t i) { return out.as_const().load(mine.first(step) + i); });
    if (!sent) return;
    if (step > 0 && !receive_results(step - 1)) return;
  }
  if (steps > 0 && !receive_results(steps - 1)) return;
  for (int r = 0; r < world_size; ++r) {
    if (r == me) continue;
    env.add_sent(r, 2 * steps);
    env.add_received(r, 2 * steps);
  }
}

}  // namespace tandem
