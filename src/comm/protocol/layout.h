#pragma once
// Where things lie in an inbox: the memory of each rank that its peers write into. The same on all ranks.

#include <cstdint>

#include "comm/protocol/pack.h"

namespace tandem {

/// Slots of equal room for packets, side by side.
struct Area {
  std::int64_t first_packet = 0;
  std::int64_t slot_packets = 0;
  std::int64_t num_slots = 0;

  TANDEM_HD std::int64_t packet(int slot, std::int64_t index) const {
    return first_packet + slot * slot_packets + index;
  }
  TANDEM_HD std::int64_t end() const { return first_packet + num_slots * slot_packets; }
};

/// Rooms of the areas, in packs (of sixteen bytes).
struct Rooms {
  std::int64_t one_shot_tagged = 0;    ///< largest tensor of an all-reduce in one shot, tagged packets
  std::int64_t one_shot_sentinel = 0;  ///< the same, sentinel packets
  std::int64_t two_shot_sentinel = 0;  ///< largest share of an all-reduce in two shots
  std::int64_t ring_tagged = 0;        ///< largest chunk of a ring, tagged packets
  std::int64_t ring_bulk = 0;          ///< largest chunk of a ring, bulk
  int ring_blocks = 0;                 ///< rings of each ordered pair of ranks: one for each block of a grid
};

/// Chunks on their way in one ring.
inline constexpr int kRingSlots = 4;

struct InboxLayout {
  int world_size = 0;
  int ring_blocks = 0;
  Area one_shot_tagged, one_shot_sentinel, two_shot_sentinel, ring_tagged, ring_bulk;

  InboxLayout() = default;
  InboxLayout(int ranks, const Rooms& rooms) : world_size(ranks), ring_blocks(rooms.ring_blocks) {
    const std::int64_t rings = std::int64_t{rooms.ring_blocks} * ranks * kRingSlots;
    std::int64_t next = 0;
    const auto place = [&](std::int64_t slot_packets, std::int64_t num_slots) {
      const Area area{next, slot_packets, num_slots};
      next = area.end();
      return area;
    };
    one_shot_tagged = place(2 * rooms.one_shot_tagged, 2 * ranks);
    one_shot_sentinel = place(rooms.one_shot_sentinel, 3 * ranks);
    two_shot_sentinel = place(rooms.two_shot_sentinel, 6 * ranks);
    ring_tagged = place(2 * rooms.ring_tagged, rings);
    ring_bulk = place(rooms.ring_bulk, rings);
  }

  /// Of the ring (block, from -> to), in the inbox of `to`; turns of kRingSlots.
  TANDEM_HD int ring_slot(int block, int from, std::uint32_t sequence) const {
    return (block * world_size + from) * kRingSlots + static_cast<int>(sequence % kRingSlots);
  }

  // Words, after the packets, each on a line of its own so that one writer does not disturb another.
  /// The last chunk that `from` has filled in bulk.
  TANDEM_HD std::int64_t filled_word(int block, int from) const { return block * world_size + from; }
  /// The last chunk from here that `to` has emptied.
  TANDEM_HD std::int64_t emptied_word(int block, int to) const {
    return (std::int64_t{ring_blocks} + block) * world_size + to;
  }
  TANDEM_HD std::int64_t num_words() const { return std::int64_t{2} * ring_blocks * world_size; }
  static constexpr std::int64_t kWordBytes = 128;
  TANDEM_HD std::int64_t packet_bytes() const { return ring_bulk.end() * kPackBytes; }
  TANDEM_HD std::int64_t bytes() const { return packet_bytes() + num_words() * kWordBytes; }
};

}  // namespace tandem
