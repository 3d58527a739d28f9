#pragma once
// All-reduces in which ranks push packets into each other's inboxes and poll only their own. No barrier, no fence: a
// packet proves its own arrival (packets.h). Sums are taken in rank order, in f32, and rounded once, so that they have
// the same bits on every rank, whatever the algorithm.
//
// They are written over an Env, one for each thread ("lane") of each rank's grid:
//   int rank(), world_size();  std::int64_t lane(), num_lanes();
//   std::uint32_t generation()     of this call; the same on all lanes and, at the same call, on all ranks
//   std::int64_t num_packs()       of this call's tensor, the last one perhaps in part
//   std::int64_t last_num_packs()  of the call before in this region
//   Pack load(i); void store(i, pack)           the caller's tensors; bytes beyond the end read as zero, are not
//   written void put_halves(to, slot, packet_index, pack), put_words(...)   into a peer's inbox: relaxed, each half of
//   eight Pack get_halves(slot, packet_index), get_words(...)             bytes, or each word of four, whole, in any
//   order void refill(slot, packet_index, pack)       into the own inbox, done before the call ends bool
//   keep_waiting(Waiting&)                 false once the group is dead or the deadline has passed
// A function returns early, at any place, once keep_waiting is false; the output is then unspecified.
//
// Why a buffer is free when it is written: a rank enters generation g + 2 only after it has seen what all others sent
// in g + 1, and they sent that after their whole call g. So nobody is two calls ahead of one who still reads.

#include "comm/protocol/packets.h"

namespace tandem {

/// What a lane waits for, for the error of a wait that ends in vain.
struct Waiting {
  int phase;  ///< of the protocol: 0, 1, ...
  int peer;   ///< the first rank of which something is missing
  std::uint32_t polls = 0;
};

/// Items in polls of several ranks at once: all their loads are in flight before the first is looked at.
inline constexpr int kPollWidth = 4;

/// How many packs of `packs` rank r owns, and where they begin: contiguous, the first packs % world_size have one more.
struct PackShares {
  std::int64_t packs;
  int world_size;
  TANDEM_HD std::int64_t first(int rank) const {
    const std::int64_t rest = packs % world_size;
    return packs / world_size * rank + (rank < rest ? rank : rest);
  }
  TANDEM_HD std::int64_t count(int rank) const { return packs / world_size + (rank < packs % world_size ? 1 : 0); }
};

/// sum <- in rank order, those of all other ranks from slots [first_slot + rank] of the own inbox, and `mine`. Whether
/// all came.
template <class Packets, DType kDType, class Env>
TANDEM_HD bool add_contributions(Env& env, PackSum<kDType>& sum, const Pack& mine, int first_slot, std::int64_t index,
                                 std::int64_t count, int phase) {
  const int world_size = env.world_size(), me = env.rank();
  const std::uint32_t generation = env.generation();
  for (int base = 0; base < world_size; base += kPollWidth) {
    typename Packets::Received received[kPollWidth];
    Waiting waiting{.phase = phase, .peer = -1};
    while (true) {
      TANDEM_UNROLL
      for (int j = 0; j < kPollWidth; ++j) {
        const int r = base + j;
        if (r < world_size && r != me) received[j] = Packets::get(env, first_slot + r, index, count);
      }
      waiting.peer = -1;
      TANDEM_UNROLL
      for (int j = kPollWidth - 1; j >= 0; --j) {
        const int r = base + j;
        if (r < world_size && r != me && !Packets::whole(received[j], generation)) waiting.peer = r;
      }
      if (waiting.peer < 0) break;
      if (!env.keep_waiting(waiting)) return false;
    }
    TANDEM_UNROLL
    for (int j = 0; j < kPollWidth; ++j) {
      const int r = base + j;
      if (r < world_size) sum.add(r == me ? mine : Packets::pack(received[j]));
    }
  }
  return true;
}

/// Sends a pack to all others, the next rank first, which spreads the load over the links.
template <class Packets, class Env>
TANDEM_HD void put_to_all(Env& env, int slot, std::int64_t index, std::int64_t count, const Pack& pack) {
  const int world_size = env.world_size();
  int to = env.rank();
  for (int k = 1; k < world_size; ++k) {
    to = to + 1 == world_size ? 0 : to + 1;
    Packets::put(env, to, slot, index, count, pack, env.generation());
  }
}

/// Puts the sentinel back into the packets that the call before received in slots [first_slot, first_slot +
/// world_size).
template <class Packets, class Env, class CountOf>
TANDEM_HD void refill_slots(Env& env, int first_slot, const CountOf& count_of) {
  if constexpr (Packets::kRefills) {
    for (int r = 0; r < env.world_size(); ++r) {
      if (r == env.rank()) continue;
      for (std::int64_t i = env.lane(); i < count_of(r); i += env.num_lanes()) {
        env.refill(first_slot + r, i, Packets::sentinel());
      }
    }
  }
}

/// Every rank sends its whole tensor to all others. One hop; (world_size - 1) times the bytes out of each rank.
/// Slots: [kBuffers][source].
template <class Packets, DType kDType, class Env>
TANDEM_HD void all_reduce_one_shot(Env& env) {
  const int world_size = env.world_size();
  const std::int64_t packs = env.num_packs();
  const std::uint32_t turn = env.generation() % Packets::kBuffers;
  const int first_slot = static_cast<int>(turn) * world_size;
  // The buffer of the call before is that of the call after the next.
  const int old_slot = static_cast<int>((turn + 2) % Packets::kBuffers) * world_size;
  refill_slots<Packets>(env, old_slot, [&](int) { return env.last_num_packs(); });
  for (std::int64_t i = env.lane(); i < packs; i += env.num_lanes()) {
    const Pack mine = Packets::clean(env.load(i));
    put_to_all<Packets>(env, first_slot + env.rank(), i, packs, mine);
    PackSum<kDType> sum;
    if (!add_contributions<Packets>(env, sum, mine, first_slot, i, packs, 0)) return;
    env.store(i, sum.result());
  }
}

/// Every rank sums a share and sends the result to all others. Two hops; 2 (world_size - 1) / world_size times the
/// bytes out of each rank. Slots: [2: to the owner, from the owner][kBuffers][source].
template <class Packets, DType kDType, class Env>
TANDEM_HD void all_reduce_two_shot(Env& env) {
  const int world_size = env.world_size(), me = env.rank();
  const std::int64_t packs = env.num_packs();
  const PackShares shares{packs, world_size}, old_shares{env.last_num_packs(), world_size};
  const std::uint32_t turn = env.generation() % Packets::kBuffers;
  const int to_owner = static_cast<int>(turn) * world_size;
  const int from_owner = (Packets::kBuffers + static_cast<int>(turn)) * world_size;
  const int old_turn = static_cast<int>((turn + 2) % Packets::kBuffers);
  refill_slots<Packets>(env, old_turn * world_size, [&](int) { return old_shares.count(me); });
  refill_slots<Packets>(env, (Packets::kBuffers + old_turn) * world_size, [&](int r) { return old_shares.count(r); });

  for (int k = 1; k < world_size; ++k) {
    const int owner = (me + k) % world_size;
    const std::int64_t first = shares.first(owner), count = shares.count(owner);
    for (std::int64_t i = env.lane(); i < count; i += env.num_lanes()) {
      Packets::put(env, owner, to_owner + me, i, count, Packets::clean(env.load(first + i)), env.generation());
    }
  }
  const std::int64_t first = shares.first(me), count = shares.count(me);
  for (std::int64_t i = env.lane(); i < count; i += env.num_lanes()) {
    PackSum<kDType> sum;
    if (!add_contributions<Packets>(env, sum, Packets::clean(env.load(first + i)), to_owner, i, count, 0)) return;
    // What the owner keeps is what it sends, to the bit.
    const Pack result = Packets::clean(sum.result());
    put_to_all<Packets>(env, from_owner + me, i, count, result);
    env.store(first + i, result);
  }
  for (int k = 1; k < world_size; ++k) {
    const int owner = (me + k) % world_size;
    const std::int64_t begin = shares.first(owner), owned = shares.count(owner);
    for (std::int64_t i = env.lane(); i < owned; i += env.num_lanes()) {
      Waiting waiting{.phase = 1, .peer = owner};
      typename Packets::Received received;
      while (!Packets::whole(received = Packets::get(env, from_owner + owner, i, owned), env.generation())) {
        if (!env.keep_waiting(waiting)) return;
      }
      env.store(begin + i, Packets::pack(received));
    }
  }
}

}  // namespace tandem
