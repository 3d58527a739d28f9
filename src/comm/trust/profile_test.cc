#include "comm/trust/profile.h"

#include <gmock/gmock.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "comm/trust/choice.h"
#include "comm/trust/snapshot_json.h"

namespace tandem {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Optional;

MachineSnapshot two_gpus() {
  return read_snapshot(TANDEM_SOURCE_DIR "/tests/snapshots/h200x2-nvswitch.json");
}

// What a process knows before it measures.
MachineSnapshot facts_of(MachineSnapshot machine) {
  machine.calls.clear();
  machine.tuning = {};
  for (PairFacts& pair : machine.pairs) pair.probe = {};
  return machine;
}

MachineSnapshot tuned() {
  MachineSnapshot machine = two_gpus();
  machine.tuning = {.calls = {{.backend = "p2p",
                               .op = Collective::kAllReduce,
                               .up_to_bytes = 4096,
                               .algorithm = TunedAlgorithm::kOneShotTagged,
                               .blocks = 2}},
                    .inboxes = {{.backend = "p2p", .bytes = 64 << 20}}};
  return machine;
}

class ProfileFolder : public testing::Test {
 protected:
  ProfileFolder()
      : folder_(std::filesystem::path(testing::TempDir()) /
                testing::UnitTest::GetInstance()->current_test_info()->name() / "profiles") {
    std::filesystem::remove_all(folder_.parent_path());
  }
  ~ProfileFolder() override {
    use_profiles("");
    std::filesystem::remove_all(folder_.parent_path());
  }
  std::filesystem::path file() const { return folder_ / profile_name(two_gpus()); }
  void write(const std::string& text) const {
    std::filesystem::create_directories(folder_);
    std::ofstream(file()) << text;
  }
  std::filesystem::path folder_;
};

TEST_F(ProfileFolder, WhatIsStoredIsFoundByTheSameMachine) {
  EXPECT_EQ(store_profile(folder_, tuned()), file());
  const FoundProfile found = find_profile(folder_, facts_of(two_gpus()));
  EXPECT_THAT(found.profile, Optional(tuned()));
  EXPECT_THAT(found.told, testing::MatchesRegex(".*/profiles/[0-9a-f]+-[0-9a-f]+.json, [0-9]+ s old"));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) files += entry.is_regular_file() ? 1 : 0;
  EXPECT_EQ(files, 1) << "nothing is left beside it";
}

TEST_F(ProfileFolder, AgeIsTold) {
  store_profile(folder_, tuned());
  const auto set_age = [&](std::chrono::hours age) {
    std::filesystem::last_write_time(file(), std::filesystem::file_time_type::clock::now() - age);
    return find_profile(folder_, facts_of(two_gpus())).told;
  };
  EXPECT_THAT(set_age(std::chrono::hours(1)), EndsWith(", 60 min old"));
  EXPECT_THAT(set_age(std::chrono::hours(30)), EndsWith(", 30 h old"));
  EXPECT_THAT(set_age(std::chrono::hours(24 * 9)), EndsWith(", 9 days old"));
}

TEST_F(ProfileFolder, RecallingTakesCallsAndTuningAndNoProbe) {
  MachineSnapshot profile = tuned();
  profile.backends.push_back({.name = "p2p", .works = false, .detail = "wrong result on rank 1"});
  store_profile(folder_, profile);
  MachineSnapshot machine = facts_of(two_gpus());
  EXPECT_FALSE(recall_profile(machine)) << "nobody has said where profiles lie";
  EXPECT_EQ(machine.profile, "");
  use_profiles(folder_);
  ASSERT_TRUE(recall_profile(machine));
  EXPECT_EQ(machine.calls, profile.calls);
  EXPECT_EQ(machine.tuning, profile.tuning);
  EXPECT_THAT(machine.profile, HasSubstr(" s old"));
  for (const PairFacts& pair : machine.pairs) EXPECT_EQ(pair.probe.outcome, ProbeOutcome::kNotTried);
  EXPECT_EQ(why_not(machine, "p2p", Evidence::kClaimed)->reason, Reason::kFailed);
  EXPECT_THAT(choose_backends(machine, "auto").log_lines(), testing::Contains(HasSubstr("profile: ")));
}

TEST_F(ProfileFolder, ThereMayBeNone) {
  const FoundProfile none = find_profile(folder_, two_gpus());
  EXPECT_FALSE(none.profile || none.ignored);
  EXPECT_EQ(none.told, format("none in {}; tandem tune makes one", folder_.string()));
  MachineSnapshot before = tuned();
  before.driver = "570.1";
  store_profile(folder_, before);
  EXPECT_THAT(find_profile(folder_, two_gpus()).told, HasSubstr("but for other links or another driver"));
  EXPECT_EQ(find_profile("", two_gpus()).told, "");
}

TEST_F(ProfileFolder, FilesThatAreBrokenAreIgnoredWithTheReason) {
  const std::string whole = snapshot_json(tuned());
  for (const std::string& text : {std::string(), std::string("{}"), std::string("not JSON"), whole.substr(0, 900)}) {
    write(text);
    const FoundProfile found = find_profile(folder_, two_gpus());
    EXPECT_FALSE(found.profile);
    EXPECT_TRUE(found.ignored);
    EXPECT_THAT(found.told, HasSubstr(file().string() + " is ignored: "));
    EXPECT_EQ(found.told.find('\n'), std::string::npos) << "one line";
  }
  std::filesystem::remove(file());
  std::filesystem::create_directories(file());  // a folder in its place
  EXPECT_TRUE(find_profile(folder_, two_gpus()).ignored);
}

TEST_F(ProfileFolder, AProfileOfAnotherMachineIsIgnored) {
  MachineSnapshot other = tuned();
  other.gpus[1].num_sms += 1;
  write(snapshot_json(other));
  use_profiles(folder_);
  MachineSnapshot machine = facts_of(two_gpus());
  testing::internal::CaptureStderr();
  EXPECT_FALSE(recall_profile(machine));
  EXPECT_FALSE(recall_profile(machine));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("is ignored: its GPU of rank 1"));
  EXPECT_EQ(log.find("is ignored"), log.rfind("is ignored")) << "told once";
  EXPECT_TRUE(machine.tuning.empty() && machine.calls.empty());
}

TEST(Profile, IsOfTheFactsThatTimesDependOn) {
  const MachineSnapshot here = two_gpus();
  const auto why = [&](const std::function<void(MachineSnapshot&)>& change) {
    MachineSnapshot then = tuned();
    change(then);
    return why_other_machine(then, here).value_or("it is this one");
  };
  EXPECT_EQ(why([](MachineSnapshot&) {}), "it is this one");
  EXPECT_EQ(why([](MachineSnapshot& m) { m.gpus[0].index = 5; }), "it is this one") << "numbers change";
  EXPECT_EQ(why([](MachineSnapshot& m) { m.pairs[0].probe = {}; }), "it is this one") << "links are probed anew";
  EXPECT_THAT(why([](MachineSnapshot& m) { m.gpus.pop_back(); }), HasSubstr("of 1 GPUs, not 2"));
  EXPECT_THAT(why([](MachineSnapshot& m) { std::swap(m.gpus[0], m.gpus[1]); }), HasSubstr("GPU of rank 0"));
  EXPECT_THAT(why([](MachineSnapshot& m) { m.gpus[1].is_mig = true; }), HasSubstr("GPU of rank 1"));
  EXPECT_THAT(why([](MachineSnapshot& m) { m.driver = "1"; }), HasSubstr("its driver is 1, not 580"));
  EXPECT_THAT(why([](MachineSnapshot& m) { m.pairs[1].link = "SYS"; }), HasSubstr("its link cuda:1 -> cuda:0"));
  EXPECT_THAT(why([](MachineSnapshot& m) { m.pairs[0].can_access = false; }), HasSubstr("its link cuda:0 -> cuda:1"));
  EXPECT_THAT(why([](MachineSnapshot& m) { m.backends[0].detail = "2.1"; }), HasSubstr("its NCCL is 2.1"));
  EXPECT_THAT(why([](MachineSnapshot& m) { m.backends[0].works = false; }), HasSubstr("none that works"));
}

TEST(Profile, NamesAreOfGpusInOrderLinksAndDriver) {
  const MachineSnapshot here = two_gpus();
  const auto name = [&](const std::function<void(MachineSnapshot&)>& change) {
    MachineSnapshot machine = here;
    change(machine);
    return profile_name(machine);
  };
  EXPECT_EQ(profile_name(here), profile_name(facts_of(here)));
  EXPECT_EQ(name([](MachineSnapshot& m) { m.gpus[0].index = 7; }), profile_name(here));
  std::set<std::string> names = {profile_name(here)};
  EXPECT_TRUE(names.insert(name([](MachineSnapshot& m) { std::swap(m.gpus[0], m.gpus[1]); })).second);
  EXPECT_TRUE(names.insert(name([](MachineSnapshot& m) { m.driver += "1"; })).second);
  EXPECT_TRUE(names.insert(name([](MachineSnapshot& m) { m.pairs[0].link = "PIX"; })).second);
  EXPECT_EQ(name([](MachineSnapshot& m) { m.gpus[0].uuid.clear(); }), "");
  EXPECT_EQ(name([](MachineSnapshot& m) { m.gpus[0].uuid = m.gpus[1].uuid; }), "") << "ranks share a GPU";
  EXPECT_EQ(profile_name({}), "") << "CPU ranks";
}

TEST_F(ProfileFolder, AFailedWriteLeavesWhatWasThere) {
  store_profile(folder_, tuned());
  const std::string before = read_text_file(file());
  EXPECT_THROW(store_profile(folder_, MachineSnapshot{}), Error);
  EXPECT_EQ(read_text_file(file()), before);
  try {
    store_profile(file() / "below a file", tuned());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnreadable);
    EXPECT_THAT(error.what(), HasSubstr("cannot make the folder"));
  }
  std::filesystem::remove(file());
  std::filesystem::create_directories(file() / "in the way");
  EXPECT_THROW(store_profile(folder_, tuned()), Error);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) files += entry.is_regular_file() ? 1 : 0;
  EXPECT_EQ(files, 0) << "the unfinished one is gone";
}

}  // namespace
}  // namespace tandem
