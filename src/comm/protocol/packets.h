#pragma once
// The two forms in which a pack travels so that its receiver sees when it is whole, without a flag beside it. PTX takes
// a vector access for as many scalar ones, in any order: two of eight bytes (v2.b64) or four of four (v4.b32). So every
// half, or every word, proves itself.

#include "comm/protocol/layout.h"
#include "comm/protocol/pack.h"

namespace tandem {

/// Generations count the calls of a region: 1 to kLastGeneration, then 1 again. Zero means "never written". The last
/// one is a multiple of 2 and of 3, so that turns of two and of three buffers go on across the wrap.
inline constexpr std::uint32_t kLastGeneration = 0xfffffffcu;
static_assert(kLastGeneration % 6 == 0);

/// `steps` calls later, or, if negative, earlier; fewer than a pass. Of "never" (0) counts as of the last one.
TANDEM_HD std::uint32_t advance_generation(std::uint32_t generation, std::int64_t steps) {
  constexpr std::int64_t kPeriod = kLastGeneration;
  const std::int64_t place = generation + steps;
  return static_cast<std::uint32_t>(place > kPeriod ? place - kPeriod : place <= 0 ? place + kPeriod : place);
}

/// Whether a counter that shows `seen` has come to `wanted`, for counters less than 2^31 calls apart.
TANDEM_HD bool generation_reached(std::uint32_t seen, std::uint32_t wanted) {
  return static_cast<std::int32_t>(seen - wanted) >= 0;
}

/// Two packets of eight bytes payload, each half of which carries the generation. Any bits can travel. Twice the bytes.
/// A receiver needs no cleaning: of two buffers used in turn, what lies in one is two generations old.
struct TaggedPackets {
  static constexpr int kBuffers = 2;
  static constexpr bool kRefills = false;
  static constexpr bool kCleans = true;  ///< before generations begin again

  TANDEM_HD static Pack clean(const Pack& pack) { return pack; }

  /// Packet `index` of either half of the slot.
  template <class Env>
  TANDEM_HD static void put(Env& env, const Area& area, int to, int slot, std::int64_t index, const Pack& pack,
                            std::uint32_t generation) {
    env.put_halves(area, to, slot, index, Pack{{pack.words[0], generation, pack.words[1], generation}});
    env.put_halves(area, to, slot, area.slot_packets / 2 + index,
                   Pack{{pack.words[2], generation, pack.words[3], generation}});
  }

  struct Received {
    Pack low, high;
  };
  template <class Env>
  TANDEM_HD static Received get(Env& env, const Area& area, int slot, std::int64_t index) {
    return {env.get_halves(area, slot, index), env.get_halves(area, slot, area.slot_packets / 2 + index)};
  }
  TANDEM_HD static bool whole(const Received& r, std::uint32_t generation) {
    return r.low.words[1] == generation && r.low.words[3] == generation && r.high.words[1] == generation &&
           r.high.words[3] == generation;
  }
  TANDEM_HD static Pack pack(const Received& r) {
    return Pack{{r.low.words[0], r.low.words[2], r.high.words[0], r.high.words[2]}};
  }
};

/// The pack itself; a word that has not arrived shows the sentinel that the receiver put there. A word that equals it
/// is sent as another zero, so only floats can travel: f32 -0.0 becomes 0.0, and so does the second of two halves whose
/// first is 0.0. Of three buffers used in turn one is being written, one read, and one refilled with the sentinel.
struct SentinelPackets {
  static constexpr int kBuffers = 3;
  static constexpr bool kRefills = true;
  static constexpr bool kCleans = false;
  static constexpr std::uint32_t kSentinel = 0x80000000u;

  TANDEM_HD static Pack sentinel() { return Pack{{kSentinel, kSentinel, kSentinel, kSentinel}}; }
  TANDEM_HD static Pack clean(Pack pack) {
    // Compared as bits: a comparison of floats may take a subnormal for zero.
    for (std::uint32_t& word : pack.words) {
      if (word == kSentinel) word = 0;
    }
    return pack;
  }

  template <class Env>
  TANDEM_HD static void put(Env& env, const Area& area, int to, int slot, std::int64_t index, const Pack& pack,
                            std::uint32_t) {
    env.put_words(area, to, slot, index, pack);
  }

  using Received = Pack;
  template <class Env>
  TANDEM_HD static Received get(Env& env, const Area& area, int slot, std::int64_t index) {
    return env.get_words(area, slot, index);
  }
  TANDEM_HD static bool whole(const Received& r, std::uint32_t) {
    return r.words[0] != kSentinel && r.words[1] != kSentinel && r.words[2] != kSentinel && r.words[3] != kSentinel;
  }
  TANDEM_HD static Pack pack(const Received& r) { return r; }
};

}  // namespace tandem
