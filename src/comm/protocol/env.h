#pragma once
// What protocols are written over. An Env is one thread ("lane") of one rank's grid:
//
//   int rank(), world_size();
//   std::int64_t lane(), num_lanes();           of the grid
//   int block(), num_blocks(), thread(), num_threads();   a lane is thread + block * num_threads
//   const InboxLayout& layout();
// for packets (all_reduce.h, exchange.h)
//   bool begin(num_packs)           counts this call in its area; num_packs is for the call after it. Whether the group
//                                   lives. Takes as long as a load or two: what was loaded before it is there after it
//   std::uint32_t generation()      of this call in its area, from begin on; the same on all lanes and, at the same
//   call,
//                                   on all ranks
//   std::int64_t last_num_packs()   of the call before in this area, from begin on
//   void put_halves(area, to, slot, index, pack), put_words(...)
//                                   into a peer's inbox: relaxed; each half of eight bytes, or each word of four,
//                                   arrives whole, in any order
//   Pack get_halves(area, slot, index), get_words(...)     from the own inbox
//   void refill(area, slot, index, pack)        into the own inbox, done before the call ends: for peers too, once they
//                                   see what this rank has put in a later call
//   bool keep_waiting(Waiting&)     false once the group is dead or the deadline has passed
// for rings (ring.h) and, of these, words and sync_block for probes (probe.h) also
//   std::uint32_t sent(to), received(from)      chunks of this block's rings before this call, as sequence numbers
//   std::uint32_t emptied(to)       what the word of emptied chunks showed before this call, the same on all threads
//   void add_sent(to, chunks), add_received(from, chunks)  for the next call
//   std::uint32_t word(index)       of the own inbox; what its writer did before `raise` is seen after it (acquire)
//   void raise(to, index, value)    a word in a peer's inbox, after all that this lane and, before a sync_block, its
//                                   block have put and got (release)
//   void raise_relaxed(to, index, value)        the same in no order with anything
//   void sync_block();  bool sync_block(bool ok)    the latter: whether all say ok
// for rows (norm.h), each worked on by a team of threads, one block or several
//   int team(), num_teams(), team_thread(), team_threads()
//   bool team_sum(bool ok, float& x)    x <- its sum over the threads of the team; whether all say ok
// for probes also
//   void fence()                    what this lane has put, got and refilled comes before what it puts later

#include "comm/protocol/packets.h"

namespace tandem {

/// What a lane waits for, for the error of a wait that ends in vain.
struct Waiting {
  int phase;  ///< of the protocol: 0, 1, ...
  int peer;   ///< the first rank of which something is missing
  std::uint32_t polls = 0;

  /// Of a wait in this phase. In a later one a lane may wait for a rank that waits itself, in an earlier one: the lanes
  /// that are there, on this rank too, know whose fault it is, and come first.
  TANDEM_HD std::uint64_t limit_ns(std::uint64_t timeout_ns) const {
    return timeout_ns + timeout_ns / 16 * static_cast<std::uint64_t>(phase);
  }
};

/// Packs dealt in contiguous shares; the first packs % num_shares have one more. An owner is a rank, or a block.
struct PackShares {
  std::int64_t packs;  ///< below 2^32, that is 64 GB: GPUs divide 32 bits several times faster
  int num_shares;
  TANDEM_HD std::int64_t each() const {
    return static_cast<std::uint32_t>(packs) / static_cast<std::uint32_t>(num_shares);
  }
  TANDEM_HD std::int64_t rest() const { return packs - each() * num_shares; }
  TANDEM_HD std::int64_t first(int owner) const { return each() * owner + (owner < rest() ? owner : rest()); }
  TANDEM_HD std::int64_t count(int owner) const { return each() + (owner < rest() ? 1 : 0); }
};

}  // namespace tandem
