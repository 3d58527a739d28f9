#pragma once
// All-gather, broadcast, gather and reduce-scatter in one hop, of messages that fit into tagged packets. Every rank
// hears from every other in each call: one that has nothing to say to a peer sends it a pack that nobody looks into. So
// buffers are free when they are written, for the reason that all_reduce.h gives, and the calls share its area.

#include "comm/protocol/all_reduce.h"

namespace tandem {

/// Of a message of so many packs.
TANDEM_HD std::int64_t num_packs_sent(std::int64_t packs) {
  return packs > 0 ? packs : 1;
}

/// `in` to all ranks that sends_to names, out_of(r) from each rank r for which it is not empty, this one included.
/// Views have the same bytes on both ends. Slots: [kBuffers][source].
template <int kWidth, class Env, class SendsTo, class OutOf>
TANDEM_HD void exchange_one_shot(Env& env, const Area& area, ConstView in, const SendsTo& sends_to,
                                 const OutOf& out_of) {
  const int world_size = env.world_size(), me = env.rank();
  const std::int64_t to_send = num_packs_sent(in.num_packs());
  std::int64_t i = env.lane();
  Pack mine{};
  if (i < to_send) mine = in.load(i);
  if (!env.begin(to_send)) return;
  const int first_slot = static_cast<int>(env.generation() % TaggedPackets::kBuffers) * world_size;
  const View own = out_of(me);
  while (i < to_send) {
    int to = me;
    for (int k = 1; k < world_size; ++k) {  // the next rank first, which spreads the load over the links
      to = to + 1 == world_size ? 0 : to + 1;
      if (i == 0 || sends_to(to)) TaggedPackets::put(env, area, to, first_slot + me, i, mine, env.generation());
    }
    if (own.data != in.data && i < own.as_const().num_packs()) own.store(i, mine);
    i += env.num_lanes();
    if (i < to_send) mine = in.load(i);
  }
  std::int64_t most = 1;
  for (int r = 0; r < world_size; ++r) {
    const std::int64_t packs = out_of(r).as_const().num_packs();
    if (r != me && packs > most) most = packs;
  }
  for (i = env.lane(); i < most; i += env.num_lanes()) {
    const auto comes = [&](int r) { return r != me && i < num_packs_sent(out_of(r).as_const().num_packs()); };
    for (int base = 0; base < world_size; base += kWidth) {
      TaggedPackets::Received received[kWidth];
      if (!receive_packets<TaggedPackets, kWidth>(env, area, first_slot, base, i, 1, comes, received)) return;
      TANDEM_UNROLL
      for (int j = 0; j < kWidth; ++j) {
        const int r = base + j;
        if (r >= world_size || r == me) continue;
        const View out = out_of(r);
        if (i < out.as_const().num_packs()) out.store(i, TaggedPackets::pack(received[j]));
      }
    }
  }
  clean_before_wrap<TaggedPackets>(env, area, first_slot);
}

/// share_of(r): rank r's share of this rank's tensor. `out`, as large as the own share, may be that share. Slots as
/// above.
template <DType kDType, int kWidth, class Env, class ShareOf>
TANDEM_HD void reduce_scatter_one_shot(Env& env, const Area& area, const ShareOf& share_of, View out) {
  const int world_size = env.world_size(), me = env.rank();
  // Of the next kWidth ranks: all loads are in flight before the first is sent on.
  Pack packs[kWidth];
  const auto peer = [&](int k) { return me + k < world_size ? me + k : me + k - world_size; };
  const auto load = [&](int first_k, std::int64_t i) {
    TANDEM_UNROLL
    for (int j = 0; j < kWidth; ++j) {
      if (first_k + j >= world_size) continue;
      const ConstView share = share_of(peer(first_k + j));
      if (i < share.num_packs()) packs[j] = share.load(i);
    }
  };
  const ConstView own = share_of(me);
  load(1, env.lane());
  Pack mine{};
  if (env.lane() < own.num_packs()) mine = own.load(env.lane());
  if (!env.begin(0)) return;
  const int first_slot = static_cast<int>(env.generation() % TaggedPackets::kBuffers) * world_size;
  std::int64_t most = 1;
  for (int r = 0; r < world_size; ++r) {
    if (share_of(r).num_packs() > most) most = share_of(r).num_packs();
  }
  for (std::int64_t i = env.lane(); i < most; i += env.num_lanes()) {
    for (int first_k = 1; first_k < world_size; first_k += kWidth) {
      if (i != env.lane() || first_k != 1) load(first_k, i);
      TANDEM_UNROLL
      for (int j = 0; j < kWidth; ++j) {
        if (first_k + j >= world_size) continue;
        const int to = peer(first_k + j);
        if (i < num_packs_sent(share_of(to).num_packs())) {
          TaggedPackets::put(env, area, to, first_slot + me, i, packs[j], env.generation());
        }
      }
    }
  }
  for (std::int64_t i = env.lane(); i < num_packs_sent(own.num_packs()); i += env.num_lanes()) {
    const bool in_share = i < own.num_packs();
    if (in_share && i != env.lane()) mine = own.load(i);
    PackSum<kDType> sum;
    if (!add_contributions<TaggedPackets, kDType, kWidth>(env, area, sum, mine, first_slot, i, 1)) return;
    if (in_share) out.store(i, sum.result());
  }
  clean_before_wrap<TaggedPackets>(env, area, first_slot);
}

}  // namespace tandem
