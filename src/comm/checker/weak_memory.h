#pragma once
// The memory that the model checker's lanes share: for each place the stores to it, in the order in which they were
// made, each with what a load that acquires it learns. Contents are numbered, so that states are small and compare
// fast.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

namespace tandem {

using Id = std::uint32_t;

/// Gives equal vectors the same number.
template <class T>
class Numbered {
 public:
  Id number(const std::vector<T>& items) {
    const auto found = ids_.find(bytes(items));
    if (found != ids_.end()) return found->second;
    all_.push_back(items);
    ids_.emplace(bytes(all_.back()), static_cast<Id>(all_.size() - 1));
    return static_cast<Id>(all_.size() - 1);
  }
  const std::vector<T>& operator[](Id id) const { return all_[id]; }

 private:
  static std::string_view bytes(const std::vector<T>& items) {
    static_assert(std::has_unique_object_representations_v<T>);
    return {reinterpret_cast<const char*>(items.data()), items.size() * sizeof(T)};
  }
  std::deque<std::vector<T>> all_;
  std::unordered_map<std::string_view, Id> ids_;
};

/// What somebody knows: the newest store to each place, then the last load of each lane, as times from 1.
using VectorClock = std::vector<std::uint16_t>;

inline void join(VectorClock& to, const VectorClock& from) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = std::max(to[i], from[i]);
}

struct LaneClocks {
  VectorClock known;     ///< what this lane's loads and stores come after
  VectorClock acquired;  ///< known, and what relaxed loads have brought: known from the next fence on
  VectorClock released;  ///< known at the last fence: what relaxed stores carry

  void fence() { known = released = acquired; }
  bool operator==(const LaneClocks&) const = default;
};

struct Place {
  Id stores;
  Id loads;  ///< of lanes since the last store, as times of theirs
  bool operator==(const Place&) const = default;
};

class WeakMemory {
 public:
  WeakMemory(std::size_t num_places, std::size_t num_lanes)
      : num_places_(num_places), nothing_(num_places + num_lanes, 0), no_loads_(num_lanes, 0) {
    no_news_ = clocks_.number(nothing_);
  }

  const VectorClock& nothing() const { return nothing_; }
  Place initial(std::uint64_t value) { return {stores_.number({{value, no_news_, 0}}), loads_.number(no_loads_)}; }

  /// How many stores to `at` a lane may still see.
  std::size_t num_visible(const Place& place, std::size_t at, const LaneClocks& lane) const {
    const auto& stores = stores_[place.stores];
    std::size_t count = 0;
    while (count < stores.size() && stores[stores.size() - 1 - count].time >= lane.known[at]) ++count;
    return count;
  }
  /// Of the `back`-th newest store.
  std::uint64_t value(const Place& place, std::size_t back) const {
    const auto& stores = stores_[place.stores];
    return stores[stores.size() - 1 - back].value;
  }
  std::uint64_t load(const Place& place, std::size_t at, LaneClocks& lane, std::size_t back, bool acquire) const {
    const auto& stores = stores_[place.stores];
    const Store& store = stores[stores.size() - 1 - back];
    lane.known[at] = lane.acquired[at] = static_cast<std::uint16_t>(store.time);
    if (store.carries != no_news_) {
      if (acquire) join(lane.known, clocks_[store.carries]);
      join(lane.acquired, clocks_[store.carries]);
    }
    return store.value;
  }
  /// The next store to `place` must come after this load.
  void remember_load(Place& place, LaneClocks& lane, std::size_t lane_index) {
    const std::size_t clock = num_places_ + lane_index;
    lane.acquired[clock] = ++lane.known[clock];
    VectorClock loads = loads_[place.loads];
    loads[lane_index] = lane.known[clock];
    place.loads = loads_.number(loads);
  }

  /// Whether the store comes after all earlier ones, and after the loads that are remembered.
  bool store(Place& place, std::size_t at, LaneClocks& lane, std::uint64_t value, bool release) {
    std::vector<Store> stores = stores_[place.stores];
    const std::uint32_t newest = stores.back().time;
    if (lane.known[at] != newest) return false;
    const VectorClock& loads = loads_[place.loads];
    for (std::size_t i = 0; i < loads.size(); ++i) {
      if (lane.known[num_places_ + i] < loads[i]) return false;
    }
    lane.known[at] = lane.acquired[at] = static_cast<std::uint16_t>(newest + 1);
    stores.push_back({value, clocks_.number(release ? lane.known : lane.released), newest + 1});
    place = {stores_.number(stores), loads_.number(no_loads_)};
    return true;
  }

  /// Forgets what makes no difference to lanes that know at least `known`: stores that are older, though never the
  /// newest, and what they know already.
  void forget(Place& place, std::size_t at, Id known) {
    bool same = true;
    std::vector<Store> rest;
    const std::vector<Store>& stores = stores_[place.stores];
    for (const Store& store : stores) {
      if (store.time < clocks_[known][at] && &store != &stores.back()) {
        same = false;
        continue;
      }
      rest.push_back({store.value, news(store.carries, known), store.time});
      same = same && rest.back().carries == store.carries;
    }
    if (!same) place.stores = stores_.number(rest);
  }

  Id number(const VectorClock& view) { return clocks_.number(view); }
  const VectorClock& clock(Id id) const { return clocks_[id]; }

 private:
  struct Store {
    std::uint64_t value;
    Id carries;  ///< a clock
    std::uint32_t time;
  };

  // What `carries` has beyond `known`.
  Id news(Id carries, Id known) {
    const auto [found, is_new] = news_.try_emplace(std::uint64_t{carries} << 32 | known, 0);
    if (!is_new) return found->second;
    VectorClock clock = clocks_[carries];
    for (std::size_t i = 0; i < clock.size(); ++i) {
      if (clock[i] <= clocks_[known][i]) clock[i] = 0;
    }
    return found->second = clocks_.number(clock);
  }

  std::size_t num_places_;
  VectorClock nothing_, no_loads_;
  Numbered<Store> stores_;
  Numbered<std::uint16_t> clocks_, loads_;
  std::unordered_map<std::uint64_t, Id> news_;
  Id no_news_;
};

}  // namespace tandem
