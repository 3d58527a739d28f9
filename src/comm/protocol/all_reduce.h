#pragma once
// All-reduces in which ranks push packets into each other's inboxes and poll only their own. No barrier, no fence: a
// packet proves its own arrival (packets.h). Sums are taken in rank order, in f32, and rounded once, so that they have
// the same bits on every rank, whatever the algorithm.
//
// They are written over an Env (env.h), one for each thread ("lane") of each rank's grid. A function returns early, at
// any place, once Env::keep_waiting is false; the output is then unspecified.
//
// Why a buffer is free when it is written: a rank enters generation g + 2 only after it has seen what all others sent
// in g + 1, and they sent that after their whole call g. So nobody is two calls ahead of one who still reads.

#include "comm/protocol/env.h"

namespace tandem {

/// Ranks that a lane polls at once (kWidth): all loads are in flight before the first is looked at. On a GPU each line
/// of code costs, as a kernel of 2 us has no time to fetch many: so no more than that is unrolled.
inline constexpr int kAnyWidth = 4;

/// Waits for packet `index` of slots [first_slot + base, first_slot + base + kWidth) of the own inbox, of those ranks
/// that wants(rank) names. Whether all came.
template <class Packets, int kWidth, class Env, class Wants>
TANDEM_HD bool receive_packets(Env& env, const Area& area, int first_slot, int base, std::int64_t index, int phase,
                               const Wants& wants, typename Packets::Received (&received)[kWidth]) {
  Waiting waiting{.phase = phase, .peer = -1};
  while (true) {
    TANDEM_UNROLL
    for (int j = 0; j < kWidth; ++j) {
      const int r = base + j;
      if (r < env.world_size() && wants(r)) received[j] = Packets::get(env, area, first_slot + r, index);
    }
    waiting.peer = -1;
    TANDEM_UNROLL
    for (int j = kWidth - 1; j >= 0; --j) {
      const int r = base + j;
      if (r < env.world_size() && wants(r) && !Packets::whole(received[j], env.generation())) waiting.peer = r;
    }
    if (waiting.peer < 0) return true;
    if (!env.keep_waiting(waiting)) return false;
  }
}

/// sum <- in rank order, those of all other ranks from slots [first_slot + rank] of the own inbox, and `mine`. Whether
/// all came.
template <class Packets, DType kDType, int kWidth, class Env>
TANDEM_HD bool add_contributions(Env& env, const Area& area, PackSum<kDType>& sum, const Pack& mine, int first_slot,
                                 std::int64_t index, int phase) {
  const int world_size = env.world_size(), me = env.rank();
  for (int base = 0; base < world_size; base += kWidth) {
    typename Packets::Received received[kWidth];
    if (!receive_packets<Packets, kWidth>(
            env, area, first_slot, base, index, phase, [&](int r) { return r != me; }, received)) {
      return false;
    }
    TANDEM_UNROLL
    for (int j = 0; j < kWidth; ++j) {
      const int r = base + j;
      if (r < world_size) sum.add(r == me ? mine : Packets::pack(received[j]));
    }
  }
  return true;
}

/// Sends a pack to all others, the next rank first, which spreads the load over the links.
template <class Packets, class Env>
TANDEM_HD void put_to_all(Env& env, const Area& area, int slot, std::int64_t index, const Pack& pack) {
  const int world_size = env.world_size();
  int to = env.rank();
  for (int k = 1; k < world_size; ++k) {
    to = to + 1 == world_size ? 0 : to + 1;
    Packets::put(env, area, to, slot, index, pack, env.generation());
  }
}

/// Puts the sentinel back into the packets that the call before received in slots [first_slot, first_slot +
/// world_size).
template <class Packets, class Env, class CountOf>
TANDEM_HD void refill_slots(Env& env, const Area& area, int first_slot, const CountOf& count_of) {
  if constexpr (Packets::kRefills) {
    for (int r = 0; r < env.world_size(); ++r) {
      if (r == env.rank()) continue;
      for (std::int64_t i = env.lane(); i < count_of(r); i += env.num_lanes()) {
        env.refill(area, first_slot + r, i, Packets::sentinel());
      }
    }
  }
}

/// Before generations begin again: zeroes the packets of a buffer that this call has read, so that none of the last
/// pass is taken for one of the next. The lane that read a packet is the one that zeroes it.
template <class Packets, class Env>
TANDEM_HD void clean_before_wrap(Env& env, const Area& area, int first_slot) {
  if constexpr (Packets::kCleans) {
    if (env.generation() <= kLastGeneration - Packets::kBuffers) return;
    for (int r = 0; r < env.world_size(); ++r) {
      for (std::int64_t i = env.lane(); i < area.slot_packets / 2; i += env.num_lanes()) {
        env.refill(area, first_slot + r, i, Pack{});
        env.refill(area, first_slot + r, area.slot_packets / 2 + i, Pack{});
      }
    }
  }
}

/// Every rank sends its whole tensor to all others. One hop; (world_size - 1) times the bytes out of each rank.
/// Slots: [kBuffers][source]. `out` may be `in`.
template <class Packets, DType kDType, int kWidth, class Env>
TANDEM_HD void all_reduce_one_shot(Env& env, const Area& area, ConstView in, View out) {
  const int world_size = env.world_size();
  const std::int64_t packs = in.num_packs();
  std::int64_t i = env.lane();
  Pack mine{};
  if (i < packs) mine = Packets::clean(in.load(i));
  if (!env.begin(packs)) return;
  const std::uint32_t turn = env.generation() % Packets::kBuffers;
  const int first_slot = static_cast<int>(turn) * world_size;
  if (i < packs) put_to_all<Packets>(env, area, first_slot + env.rank(), i, mine);
  // While the first packets are on their way. The buffer of the call before is that of the call after the next.
  refill_slots<Packets>(env, area, static_cast<int>((turn + 2) % Packets::kBuffers) * world_size,
                        [&](int) { return env.last_num_packs(); });
  while (i < packs) {
    PackSum<kDType> sum;
    if (!add_contributions<Packets, kDType, kWidth>(env, area, sum, mine, first_slot, i, 0)) return;
    out.store(i, sum.result());
    i += env.num_lanes();
    if (i >= packs) break;
    mine = Packets::clean(in.load(i));
    put_to_all<Packets>(env, area, first_slot + env.rank(), i, mine);
  }
  clean_before_wrap<Packets>(env, area, first_slot);
}

/// Every rank sums a share and sends the result to all others. Two hops; 2 (world_size - 1) / world_size times the
/// bytes out of each rank. Slots: [2: to the owner, from the owner][kBuffers][source]. At least a pack for each rank.
/// Sentinel packets only: a buffer of tagged ones would need cleaning by the lane that read it.
template <class Packets, DType kDType, class Env>
TANDEM_HD void all_reduce_two_shot(Env& env, const Area& area, ConstView in, View out) {
  static_assert(Packets::kRefills);
  const int world_size = env.world_size(), me = env.rank();
  if (!env.begin(in.num_packs())) return;
  const PackShares shares{in.num_packs(), world_size}, old_shares{env.last_num_packs(), world_size};
  const std::uint32_t turn = env.generation() % Packets::kBuffers;
  const int to_owner = static_cast<int>(turn) * world_size;
  const int from_owner = (Packets::kBuffers + static_cast<int>(turn)) * world_size;
  const int old_turn = static_cast<int>((turn + 2) % Packets::kBuffers);

  for (int k = 1; k < world_size; ++k) {
    const int owner = (me + k) % world_size;
    const std::int64_t first = shares.first(owner), count = shares.count(owner);
    for (std::int64_t i = env.lane(); i < count; i += env.num_lanes()) {
      Packets::put(env, area, owner, to_owner + me, i, Packets::clean(in.load(first + i)), env.generation());
    }
  }
  refill_slots<Packets>(env, area, old_turn * world_size, [&](int) { return old_shares.count(me); });
  refill_slots<Packets>(env, area, (Packets::kBuffers + old_turn) * world_size,
                        [&](int r) { return old_shares.count(r); });
  const std::int64_t first = shares.first(me), count = shares.count(me);
  for (std::int64_t i = env.lane(); i < count; i += env.num_lanes()) {
    PackSum<kDType> sum;
    if (!add_contributions<Packets, kDType, kAnyWidth>(env, area, sum, Packets::clean(in.load(first + i)), to_owner, i,
                                                       0)) {
      return;
    }
    // What the owner keeps is what it sends, to the bit.
    const Pack result = Packets::clean(sum.result());
    put_to_all<Packets>(env, area, from_owner + me, i, result);
    out.store(first + i, result);
  }
  for (int k = 1; k < world_size; ++k) {
    const int owner = (me + k) % world_size;
    const std::int64_t begin = shares.first(owner), owned = shares.count(owner);
    for (std::int64_t i = env.lane(); i < owned; i += env.num_lanes()) {
      Waiting waiting{.phase = 1, .peer = owner};
      typename Packets::Received received;
      while (!Packets::whole(received = Packets::get(env, area, from_owner + owner, i), env.generation())) {
        if (!env.keep_waiting(waiting)) return;
      }
      out.store(begin + i, Packets::pack(received));
    }
  }
}

}  // namespace tandem
