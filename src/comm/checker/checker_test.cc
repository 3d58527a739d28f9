// The model checker itself: small programs whose outcomes the C++ memory model allows or forbids, by their names in the
// literature.
#include "comm/checker/checker.h"

#include <gtest/gtest.h>

namespace tandem {
namespace {

// Two packs and two words of each inbox; the ring is only a way to have words.
CheckOptions options_for(int world_size, int calls) {
  CheckOptions options;
  options.world_size = world_size;
  options.calls = calls;
  options.rooms = {.one_shot_sentinel = 1};
  options.packs.assign(static_cast<std::size_t>(calls), 0);
  options.kept = [](int, int) { return 0; };
  options.unit_bytes = 8;
  return options;
}
const Area& area_of(CheckedEnv& env) {
  return env.layout().one_shot_sentinel;
}
Pack pack_of(std::uint32_t low, std::uint32_t high) {
  return {{low, 0, high, 0}};
}
void put(CheckedEnv& env, int to, int slot, std::uint32_t low, std::uint32_t high) {
  env.put_words(area_of(env), to, slot, 0, pack_of(low, high));
}
Pack get(CheckedEnv& env, int slot) {
  return env.get_words(area_of(env), slot, 0);
}

bool allowed(const CheckOptions& options, const std::function<LaneResult(CheckedEnv&, int)>& body) {
  const CheckReport report = check(options, body);
  if (!report.violation) return false;
  EXPECT_TRUE(report.violation->starts_with("rank")) << *report.violation;
  return report.violation->find("wrong result") != std::string::npos;
}

CheckOptions with_words(CheckOptions options) {
  options.rooms.ring_blocks = 1;
  return options;
}
bool wait_for_word(CheckedEnv& env, int index, std::uint32_t value) {
  Waiting waiting{};
  while (!generation_reached(env.word(index), value)) {
    if (!env.keep_waiting(waiting)) return false;
  }
  return true;
}

// Message passing.
bool message_is_missed(bool release, bool single_stores) {
  CheckOptions options = with_words(options_for(2, 1));
  options.single_stores = single_stores;
  return allowed(options, [&](CheckedEnv& env, int) -> LaneResult {
    if (env.rank() == 0) {
      put(env, 1, 0, 5, 6);
      release ? env.raise(1, 0, 7) : env.raise_relaxed(1, 0, 7);
      return {};
    }
    if (!wait_for_word(env, 0, 7)) return {};
    return {get(env, 0) == pack_of(5, 6)};
  });
}
TEST(Litmus, MessagePassingNeedsARelease) {
  for (const bool single : {false, true}) {
    EXPECT_TRUE(message_is_missed(false, single));
    EXPECT_FALSE(message_is_missed(true, single));
  }
}

// What a lane has acquired is part of what it releases.
bool third_misses(bool release) {
  return allowed(with_words(options_for(3, 1)), [&](CheckedEnv& env, int) -> LaneResult {
    const auto raise = [&](int to) { release ? env.raise(to, 0, 7) : env.raise_relaxed(to, 0, 7); };
    if (env.rank() == 0) {
      put(env, 2, 0, 5, 5);
      raise(1);
      return {};
    }
    if (!wait_for_word(env, 0, 7)) return {};
    if (env.rank() == 1) raise(2);
    return {env.rank() == 1 || get(env, 0) == pack_of(5, 5)};
  });
}
TEST(Litmus, ReleaseIsCumulative) {
  EXPECT_TRUE(third_misses(false));
  EXPECT_FALSE(third_misses(true));
}

TEST(Litmus, UnitsArriveInAnyOrderAndEachWhole) {
  const auto first_only = [](bool second_only) {
    return allowed(options_for(2, 1), [=](CheckedEnv& env, int) -> LaneResult {
      if (env.rank() == 0) return put(env, 1, 0, 5, 6), LaneResult{};
      const Pack pack = get(env, 0);
      return {second_only ? pack != pack_of(0, 6) : pack != pack_of(5, 0)};
    });
  };
  EXPECT_TRUE(first_only(false));
  EXPECT_TRUE(first_only(true));
}

TEST(Litmus, LoadsOfOnePlaceGoForward) {
  const auto goes_back = [](bool both_old) {
    return allowed(options_for(2, 1), [=](CheckedEnv& env, int) -> LaneResult {
      if (env.rank() == 0) {
        put(env, 1, 0, 1, 1);
        put(env, 1, 0, 2, 2);
        return {};
      }
      const Pack first = get(env, 0), second = get(env, 0);
      return {both_old ? first != second || first != pack_of(1, 1) : second.words[0] >= first.words[0]};
    });
  };
  EXPECT_TRUE(goes_back(true));
  EXPECT_FALSE(goes_back(false));
}

// Store buffering: each stores, then loads what the other stored. They compare notes: a pack that says what was seen.
TEST(Litmus, BothMayMissTheOthersStore) {
  EXPECT_TRUE(allowed(options_for(2, 1), [](CheckedEnv& env, int) -> LaneResult {
    const int peer = 1 - env.rank();
    put(env, peer, 0, 5, 5);
    const std::uint32_t seen = get(env, 0).words[0];
    put(env, peer, 1, 1 + seen, 1 + seen);
    Waiting waiting{};
    while (get(env, 1).words[0] == 0) {
      if (!env.keep_waiting(waiting)) return {};
    }
    return {seen != 0 || get(env, 1).words[0] != 1};
  }));
}

// Message passing where only the ends of kernels order anything.
bool missed_across_kernels(bool fence) {
  CheckOptions options = options_for(2, 2);
  options.kernel_fence = fence;
  return allowed(options, [](CheckedEnv& env, int call) -> LaneResult {
    if (env.rank() == 0) return put(env, 1, call, 5, 6), LaneResult{};
    Waiting waiting{};
    while (call == 0 && get(env, 1) != pack_of(5, 6)) {
      if (!env.keep_waiting(waiting)) return {};
    }
    return {call == 0 || get(env, 0) == pack_of(5, 6)};
  });
}
TEST(Litmus, TheEndOfAKernelIsAFenceOnlyIfAssumed) {
  EXPECT_TRUE(missed_across_kernels(false));
  EXPECT_FALSE(missed_across_kernels(true));
}

TEST(Checker, NamesAHang) {
  const CheckReport report = check(options_for(2, 1), [](CheckedEnv& env, int) -> LaneResult {
    Waiting waiting{};
    while (get(env, 0).words[0] != 5 && env.keep_waiting(waiting)) {
    }
    return {};
  });
  ASSERT_TRUE(report.violation);
  EXPECT_TRUE(report.violation->starts_with("hang: lane 0 of rank 0 waits in call 0, lane 0 of rank 1"))
      << *report.violation;
}

// Rank 1 waits for a value that may be gone before it looks.
TEST(Checker, SeesThatAValueMayBeMissed) {
  const CheckReport report = check(options_for(2, 1), [](CheckedEnv& env, int) -> LaneResult {
    if (env.rank() == 0) {
      put(env, 1, 0, 5, 5);
      put(env, 1, 0, 6, 6);
      return {};
    }
    Waiting waiting{};
    while (get(env, 0).words[0] != 5 && env.keep_waiting(waiting)) {
    }
    return {};
  });
  ASSERT_TRUE(report.violation);
  EXPECT_TRUE(report.violation->starts_with("hang: lane 0 of rank 1")) << *report.violation;
}

TEST(Checker, NamesStoresThatAreNotOrdered) {
  const CheckReport report = check(options_for(3, 1), [](CheckedEnv& env, int) -> LaneResult {
    if (env.rank() > 0) put(env, 0, 0, 5, 5);
    return {};
  });
  ASSERT_TRUE(report.violation);
  EXPECT_NE(report.violation->find("in no order"), std::string::npos) << *report.violation;
}

TEST(Checker, FollowsALaneThatStopsMidwayAndThoseThatLeave) {
  CheckOptions options = options_for(2, 1);
  options.stop = Stop{.rank = 0};
  bool left = false, got = false;
  const CheckReport report = check(options, [&](CheckedEnv& env, int) -> LaneResult {
    if (env.rank() == 0) return put(env, 1, 0, 5, 5), LaneResult{};
    Waiting waiting{};
    while (get(env, 0) != pack_of(5, 5) && env.keep_waiting(waiting)) {
    }
    (env.left() ? left : got) = true;
    return {};
  });
  EXPECT_FALSE(report.violation) << *report.violation;
  EXPECT_TRUE(left);
  EXPECT_TRUE(got);
}

}  // namespace
}  // namespace tandem
