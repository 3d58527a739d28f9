#pragma once
// The two forms in which a pack travels so that its receiver sees when it is whole, without a flag beside it. PTX takes
// a vector access for as many scalar ones, in any order: two of eight bytes (v2.b64) or four of four (v4.b32). So every
// half, or every word, proves itself.

#include "comm/protocol/pack.h"

namespace tandem {

/// Generations count the calls of a region: 1 to kLastGeneration, then 1 again. Zero means "never written". The last
/// one is a multiple of 2 and of 3, so that turns of two and of three buffers go on across the wrap.
inline constexpr std::uint32_t kLastGeneration = 0xfffffffcu;
static_assert(kLastGeneration % 6 == 0);

TANDEM_HD std::uint32_t next_generation(std::uint32_t generation) {
  return generation == kLastGeneration ? 1 : generation + 1;
}

/// Whether a counter that shows `seen` has come to `wanted`, for counters less than 2^31 calls apart.
TANDEM_HD bool generation_reached(std::uint32_t seen, std::uint32_t wanted) {
  return static_cast<std::int32_t>(seen - wanted) >= 0;
}

/// Two packets of eight bytes payload, each half of which carries the generation. Any bits can travel. Twice the bytes.
/// A receiver needs no cleaning: of two buffers used in turn, what lies in one is two generations old.
struct LlPackets {
  static constexpr int kPacketsPerPack = 2;
  static constexpr int kBuffers = 2;
  static constexpr bool kRefills = false;

  TANDEM_HD static Pack clean(const Pack& pack) { return pack; }

  /// Packets `index` and `count + index` of the slot, `count` being the packs of the message.
  template <class Env>
  TANDEM_HD static void put(Env& env, int to, int slot, std::int64_t index, std::int64_t count, const Pack& pack,
                            std::uint32_t generation) {
    env.put_halves(to, slot, index, Pack{{pack.words[0], generation, pack.words[1], generation}});
    env.put_halves(to, slot, count + index, Pack{{pack.words[2], generation, pack.words[3], generation}});
  }

  struct Received {
    Pack low, high;
  };
  template <class Env>
  TANDEM_HD static Received get(Env& env, int slot, std::int64_t index, std::int64_t count) {
    return {env.get_halves(slot, index), env.get_halves(slot, count + index)};
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
/// is sent as another zero, so only floats can travel: one -0.0 becomes 0.0. Of three buffers used in turn one is being
/// written, one read, and one refilled with the sentinel.
template <DType kDType>
struct SentinelPackets {
  static_assert(kDType == DType::kF32 || kDType == DType::kF16 || kDType == DType::kBF16);
  static constexpr int kPacketsPerPack = 1;
  static constexpr int kBuffers = 3;
  static constexpr bool kRefills = true;
  static constexpr std::uint32_t kSentinel = kDType == DType::kF32 ? 0x80000000u : 0x80008000u;

  TANDEM_HD static Pack sentinel() { return Pack{{kSentinel, kSentinel, kSentinel, kSentinel}}; }
  TANDEM_HD static Pack clean(Pack pack) {
    // Compared as bits: a comparison of floats may take a subnormal for zero.
    for (std::uint32_t& word : pack.words) {
      if (word == kSentinel) word = kDType == DType::kF32 ? 0u : 0x80000000u;
    }
    return pack;
  }

  template <class Env>
  TANDEM_HD static void put(Env& env, int to, int slot, std::int64_t index, std::int64_t, const Pack& pack,
                            std::uint32_t) {
    env.put_words(to, slot, index, pack);
  }

  using Received = Pack;
  template <class Env>
  TANDEM_HD static Received get(Env& env, int slot, std::int64_t index, std::int64_t) {
    return env.get_words(slot, index);
  }
  TANDEM_HD static bool whole(const Received& r, std::uint32_t) {
    return r.words[0] != kSentinel && r.words[1] != kSentinel && r.words[2] != kSentinel && r.words[3] != kSentinel;
  }
  TANDEM_HD static Pack pack(const Received& r) { return r; }
};

}  // namespace tandem
