#pragma once
// The fixture of the contract suite (communicator_contract.h): a back-end at a world size, and what its tests share.

#include <atomic>
#include <chrono>
#include <ostream>
#include <random>
#include <string>

#include "comm/communicator_contract_rig.h"

namespace tandem::contract {

using namespace std::chrono_literals;

struct Case {
  std::string backend;
  int world_size;
  bool sums_in_rank_order;  ///< f32 accumulation in rank order, one rounding: the bits of every sum are known
  std::function<std::unique_ptr<Rig>()> make_rig;
  std::function<std::string()> why_skipped = {};  ///< empty, or returns nothing: it can run here
  friend void PrintTo(const Case& value, std::ostream* out) {
    *out << value.backend << ", " << value.world_size << " ranks";
  }
};

inline std::vector<Case> contract_cases(const std::string& backend, bool sums_in_rank_order,
                                        const std::function<std::unique_ptr<Rig>()>& make_rig) {
  std::vector<Case> cases;
  for (const int world_size : {1, 2, 3, 4, 5, 8, 16}) {
    cases.push_back({backend, world_size, sums_in_rank_order, make_rig, {}});
  }
  return cases;
}

inline std::string contract_case_name(const testing::TestParamInfo<Case>& info) {
  return std::to_string(info.param.world_size);
}

class CommunicatorContract : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!GetParam().why_skipped) return;
    if (const std::string reason = GetParam().why_skipped(); !reason.empty()) GTEST_SKIP() << reason;
  }
  int world_size() const { return GetParam().world_size; }
  /// The rank that misbehaves in tests of faults.
  int culprit() const { return world_size() - 1; }
  std::string culprit_name() const { return format("rank {}", culprit()); }
  bool alone() const { return world_size() == 1; }

  std::vector<Outcome> run(const Body& body, const std::function<void(const Group&)>& meanwhile = {}) {
    return run({.world_size = world_size()}, body, meanwhile);
  }
  std::vector<Outcome> run(const GroupOptions& options, const Body& body,
                           const std::function<void(const Group&)>& meanwhile = {}) {
    return GetParam().make_rig()->run(options, body, meanwhile);
  }
  static void expect_all_ok(const std::vector<Outcome>& outcomes) {
    for (const Outcome& outcome : outcomes) ASSERT_TRUE(outcome.ok) << outcome.message;
  }
  /// Every rank got an Error of `kind` whose text has all of `parts`.
  static void expect_all_failed(const std::vector<Outcome>& outcomes, ErrorKind kind,
                                const std::vector<std::string>& parts) {
    for (const Outcome& outcome : outcomes) {
      EXPECT_EQ(outcome.kind, kind) << outcome.message;
      for (const std::string& part : parts) EXPECT_NE(outcome.message.find(part), std::string::npos) << outcome.message;
    }
  }
  static std::uint32_t random_seed() {
    const std::uint32_t seed = std::random_device()();
    testing::Test::RecordProperty("seed", std::to_string(seed));
    return seed;
  }
  /// Of the tests that let a rank miss it: long enough that a rank whose thread runs is not late too.
  static constexpr std::chrono::milliseconds kShortTimeout = 500ms;
  /// Of the tests in which nobody is to wait that long, in seconds: on a busy machine many ranks take a few.
  static constexpr double kDefaultTimeout = 10;
  /// Ranks that have started; outside of the group, whose timeout is not to run while threads are made.
  class Start {
   public:
    void meet(const Communicator& comm) {
      ++num_here_;
      wait_for(comm.world_size());
    }
    void wait_for(int world_size) const {
      while (num_here_.load() < world_size) std::this_thread::yield();
    }

   private:
    std::atomic<int> num_here_{0};
  };
  /// A timeout in `call` on every rank that names the culprit, if need be among others: on a busy machine, more are
  /// late.
  void expect_timeout_naming_culprit(const std::vector<Outcome>& outcomes, const std::vector<std::string>& parts) {
    expect_all_failed(outcomes, ErrorKind::kTimeout, parts);
    for (const Outcome& outcome : outcomes) {
      const std::size_t at = outcome.message.find("waits for rank");  // "waits for ranks 3, 15"
      ASSERT_NE(at, outcome.message.npos) << outcome.message;
      const std::string late = outcome.message.substr(at, outcome.message.find('\n', at) - at) + ",";
      EXPECT_NE(late.find(format(" {},", culprit())), late.npos) << outcome.message;
    }
  }
  static void wait_for_abort(const Communicator& comm) {
    while (!comm.group().aborted()) std::this_thread::sleep_for(1ms);
  }
};

}  // namespace tandem::contract
