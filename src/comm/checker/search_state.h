#pragma once
// What the model checker keeps of a state to compare and to go on from it.

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "comm/checker/weak_memory.h"

namespace tandem {

enum Status : std::uint32_t { kRunning, kAtBarrier, kCallDone, kGone };

/// Of one lane, between two of its steps. Numbers only, without padding: states are compared as bytes.
struct LaneState {
  std::uint32_t status = kRunning;
  std::uint32_t call = 0;
  std::uint32_t num_ops = 0;  // in this call, loads, stores and barriers
  std::uint32_t left = 0;
  std::uint32_t kept = 0;
  Id seen = 0;     // what loads and barriers of this call have given
  Id arrival = 0;  // what it brings to the barrier where it waits
  Id counts = 0;   // of chunks sent, then received, before this call
  Id known = 0, acquired = 0, released = 0;
};

struct State {
  std::vector<Place> places;
  std::vector<LaneState> lanes;       // [rank][block][thread]
  std::vector<std::uint32_t> poison;  // [rank]
};

using Fingerprint = std::pair<std::uint64_t, std::uint64_t>;
struct FingerprintHash {
  std::size_t operator()(const Fingerprint& f) const { return f.first; }
};

/// 128 bits: among 10^8 states two with the same are not to be expected (10^-23).
inline Fingerprint fingerprint(const State& state) {
  std::uint64_t a = 0x9e3779b97f4a7c15u, b = 0xc2b2ae3d27d4eb4fu;
  const auto mix = [&](const void* data, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; i += 4) {
      std::uint32_t word;
      std::memcpy(&word, static_cast<const char*>(data) + i, 4);
      a = (a ^ word) * 0xff51afd7ed558ccdu;
      a ^= a >> 29;
      b = (b + word) * 0xc4ceb9fe1a85ec53u;
      b ^= b >> 32;
    }
  };
  static_assert(std::has_unique_object_representations_v<LaneState> && std::has_unique_object_representations_v<Place>);
  mix(state.places.data(), state.places.size() * sizeof(Place));
  mix(state.lanes.data(), state.lanes.size() * sizeof(LaneState));
  mix(state.poison.data(), state.poison.size() * sizeof(std::uint32_t));
  return {a, b};
}

/// All outcomes of a step, one after the other: each run asks for the same choices up to the one that it takes anew.
class Choices {
 public:
  std::size_t choose(std::size_t count) {
    if (count == 1) return 0;
    if (next_ == taken_.size()) taken_.push_back({0, count});
    return taken_[next_++].first;
  }
  void rewind() { next_ = 0; }
  bool advance() {
    next_ = 0;
    while (!taken_.empty() && taken_.back().first + 1 == taken_.back().second) taken_.pop_back();
    if (taken_.empty()) return false;
    ++taken_.back().first;
    return true;
  }

 private:
  std::vector<std::pair<std::size_t, std::size_t>> taken_;
  std::size_t next_ = 0;
};

}  // namespace tandem
