#include "diagnose/machine/facts_json.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <functional>

#include "base/error.h"
#include "base/json.h"
#include "comm/trust/snapshot_json.h"
#include "diagnose/machine/fake_root.h"
#include "diagnose/machine/gather_facts.h"
#include "diagnose/machine/random_facts.h"

namespace tandem {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::string refusal(const std::string& text) {
  try {
    parse_machine_facts(text, "old.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadFile);
    EXPECT_THAT(error.what(), StartsWith("old.json: "));
    return error.what();
  }
  return "it was not refused";
}

std::string refusal_of(const std::function<void(Json&)>& spoil) {
  Json json = parse_json(machine_facts_json(random_facts(1, true)), "");
  spoil(json);
  return refusal(json_text(json));
}

TEST(FactsJson, KeepsEverything) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    const MachineFacts facts = random_facts(seed, seed % 4 == 0);
    EXPECT_EQ(parse_machine_facts(machine_facts_json(facts), "x"), facts) << "seed " << seed;
  }
  EXPECT_EQ(parse_machine_facts(machine_facts_json({}), "x"), MachineFacts{});
}

TEST(FactsJson, KeepsWhatIsGathered) {
  const FakeRoot root;
  root.fill();
  for (const char* machine : {"bridges", "lost"}) {
    setenv("FAKE_NVML", machine, 1);
    const MachineFacts facts = gather_machine_facts({.root = root.path(), .nvml_file = FAKE_NVML_LIBRARY});
    const std::filesystem::path file = root.path() / "facts.json";
    root.write("/facts.json", machine_facts_json(facts));
    EXPECT_EQ(read_machine_facts(file), facts);
  }
}

TEST(FactsJson, IsASnapshotForThoseWhoWantNoMore) {
  const MachineFacts facts = random_facts(3, true);
  EXPECT_EQ(parse_snapshot(machine_facts_json(facts), "x"), facts.fabric);
}

TEST(FactsJson, ReadsSnapshotsWithoutFacts) {
  for (const auto& entry : std::filesystem::directory_iterator(TANDEM_SOURCE_DIR "/tests/snapshots")) {
    const std::filesystem::path& file = entry.path();
    if (file.extension() != ".json" || read_json_file(file)["version"] != 1) continue;
    const MachineFacts facts = read_machine_facts(file);
    EXPECT_EQ(facts.fabric, read_snapshot(file));
    EXPECT_EQ(facts.host, HostFacts{});
    ASSERT_EQ(facts.unread.size(), 1u);
    EXPECT_THAT(facts.unread[0].reason, HasSubstr("version 1"));
  }
}

TEST(FactsJson, WritesTextsThatItReads) {
  MachineFacts facts;
  facts.host.os = "one\ntwo\x1b[2J\xff" + std::string(5000, 'x');
  facts.host.environment["NCCL_A\nB"] = "\x07";
  const MachineFacts read = parse_machine_facts(machine_facts_json(facts), "x");
  EXPECT_THAT(read.host.os, StartsWith("one two?[2J?xxx"));
  EXPECT_LE(read.host.os.size(), 4096u);
  EXPECT_EQ(read.host.environment, (std::map<std::string, std::string>{{"NCCL_A B", "?"}}));
}

// Each field in turn: absent, then of another type.
TEST(FactsJson, NamesTheFieldThatIsMissingOrOfTheWrongType) {
  const Json whole = parse_json(machine_facts_json(random_facts(7, true)), "");
  const Json old = parse_json(snapshot_json({}), "");
  const Json flat = whole.flatten();
  int fields = 0;
  for (const auto& [pointer, value] : flat.items()) {
    const Json::json_pointer place(pointer);
    const std::string name = place.back();
    if (old.contains(pointer.substr(1, pointer.find('/', 1) - 1)) || pointer.find("/environment/") != pointer.npos ||
        pointer.find("/parameters/") != pointer.npos || name.find_first_not_of("0123456789") == name.npos) {
      continue;
    }
    ++fields;
    Json json = whole;
    json.at(place.parent_pointer()).erase(name);
    EXPECT_THAT(refusal(json_text(json)), AllOf(HasSubstr("there is no "), HasSubstr(name)));
    for (const Json& other : {Json(-1e3), Json(1e300), Json::array({1}), Json("\n"), Json::object(), Json(false)}) {
      if (other.type() == value.type() && !other.is_number() && !other.is_string()) continue;
      json = whole;
      json[place] = other;
      EXPECT_THAT(refusal(json_text(json)), HasSubstr(name)) << pointer << " " << json_text(other);
    }
  }
  EXPECT_GT(fields, 150);
}

TEST(FactsJson, RefusesWhatIsOutOfRange) {
  EXPECT_THAT(refusal_of([](Json& j) { j["pci"][1]["numa_node"] = -2; }),
              HasSubstr("pci[1].numa_node: expected an integer of -1 to 2147483647, not -2"));
  EXPECT_THAT(refusal_of([](Json& j) { j["pci"][0]["link_width"] = -1; }), HasSubstr("pci[0].link_width"));
  EXPECT_THAT(refusal_of([](Json& j) { j["pci"][0]["link_width"] = 1ll << 31; }), HasSubstr("pci[0].link_width"));
  EXPECT_THAT(refusal_of([](Json& j) { j["gpu_health"][0]["processes"][1]["pid"] = 1ll << 32; }),
              HasSubstr("gpu_health[0].processes[1].pid: expected an integer of 0 to 4294967295"));
  EXPECT_THAT(refusal_of([](Json& j) { j["gpu_health"][0]["celsius"] = -274; }), HasSubstr("gpu_health[0].celsius"));
  EXPECT_THAT(refusal_of([](Json& j) { j["host"]["memory_bytes"] = 1.5; }), HasSubstr("host.memory_bytes"));
  EXPECT_THAT(refusal_of([](Json& j) { j["supply_watts"] = -1; }), HasSubstr("supply_watts: expected a number"));
  EXPECT_THAT(refusal_of([](Json& j) { j["version"] = 3; }), HasSubstr("version"));
  EXPECT_THAT(refusal_of([](Json& j) { j["fabric"] = 1, j.erase("gpus"); }), HasSubstr("there is no gpus"));
}

TEST(FactsJson, RefusesWhatWouldFillTheMemoryOrSteerATerminal) {
  EXPECT_THAT(refusal_of([](Json& j) { j["unread"] = std::vector<Json>(4097, j["unread"][0]); }),
              HasSubstr("unread: 4097 elements, 4096 at most"));
  EXPECT_THAT(refusal_of([](Json& j) {
                for (int i = 0; i < 5000; ++i) j["host"]["environment"][format("N{}", i)] = "";
              }),
              HasSubstr("host.environment: 5002 members, 4096 at most"));
  EXPECT_THAT(refusal_of([](Json& j) { j["host"]["os"] = std::string(5000, 'x'); }), HasSubstr("4096 bytes at most"));
  const std::string named = refusal_of([](Json& j) { j["driver_facts"]["parameters"]["\x1b[2J"] = ""; });
  EXPECT_THAT(named, AllOf(HasSubstr("driver_facts.parameters.\"?[2J\": expected a name"), Not(HasSubstr("\x1b"))));
  EXPECT_THAT(refusal(std::string((64 << 20) + 1, ' ')), HasSubstr("67108865 bytes, 67108864 at most"));
  EXPECT_THAT(refusal("[]"), HasSubstr("expected an object"));
}

}  // namespace
}  // namespace tandem
