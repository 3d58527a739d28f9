#include "comm/trust/snapshot_json.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <functional>

#include "base/error.h"
#include "base/json.h"

namespace tandem {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// One of everything, each value another.
MachineSnapshot full_snapshot() {
  MachineSnapshot machine{.driver = "580.1", .no_gpus = "none here", .profile = "none", .no_nvml = "no library"};
  for (int i = 0; i < 3; ++i) {
    machine.gpus.push_back({.index = 2 - i,
                            .name = format("GPU \"{}\" \u00e9", i),
                            .uuid = format("GPU-{}", i),
                            .pci_address = format("0000:1{}:00.0", i),
                            .major = 9,
                            .minor = i,
                            .num_sms = 100 + i,
                            .memory_bytes = (std::uint64_t{1} << 63) + static_cast<std::uint64_t>(i),
                            .is_mig = i == 1});
  }
  int outcome = 0;
  for (int from = 0; from < 3; ++from) {
    for (int to = 0; to < 3; ++to) {
      if (from == to) continue;
      machine.pairs.push_back({.from = from,
                               .to = to,
                               .link = format("NV{}", from),
                               .can_access = to == 2,
                               .probe = {.outcome = static_cast<ProbeOutcome>(++outcome),
                                         .rounds = (std::int64_t{1} << 60) + to,
                                         .detail = format("seen {}", to),
                                         .latency_us = 0.1 * to,
                                         .bandwidth = 1e11 / 3},
                               .p2p_status = from == 0 ? "OK" : "CNS"});
    }
  }
  machine.backends = {{.name = "nccl", .works = true, .detail = "2.28.9"}, {.name = "native", .works = false}};
  for (int op = 0; op < 8; ++op) {
    machine.calls.push_back({.backend = op % 2 == 0 ? "p2p" : "cpu",
                             .op = static_cast<Collective>(op),
                             .bytes = std::int64_t{1} << (op * 5),
                             .microseconds = 1.0 / (op + 3)});
  }
  machine.tuning.inboxes = {{.backend = "native", .bytes = 1}, {.backend = "p2p", .bytes = std::int64_t{1} << 40}};
  for (int i = 0; i < 6; ++i) {
    machine.tuning.calls.push_back({.backend = i % 2 == 0 ? "p2p" : "native",
                                    .op = i < 5 ? static_cast<Collective>(i) : Collective::kSend,
                                    .up_to_bytes = std::int64_t{1} << (10 * i),
                                    .algorithm = static_cast<TunedAlgorithm>(i),
                                    .blocks = 2 * i + 3});
  }
  return machine;
}

std::string refusal(const std::string& text) {
  try {
    parse_snapshot(text, "old.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadFile);
    EXPECT_THAT(error.what(), StartsWith("old.json: "));
    EXPECT_NE(error.hint(), "");
    return error.what();
  }
  return "it was not refused";
}

std::string refusal_of(const std::function<void(Json&)>& spoil) {
  Json json = parse_json(snapshot_json(full_snapshot()), "");
  spoil(json);
  return refusal(json_text(json));
}

TEST(SnapshotJson, KeepsEverything) {
  const MachineSnapshot machine = full_snapshot();
  EXPECT_EQ(parse_snapshot(snapshot_json(machine), "x"), machine);
  EXPECT_EQ(parse_snapshot(snapshot_json({}), "x"), MachineSnapshot{});
}

TEST(SnapshotJson, WritesTextsThatItReads) {
  MachineSnapshot machine;
  machine.no_gpus = "first\n\tsecond\x1b[2J \xff" + std::string(5000, 'x') + "\u00e9";
  const std::string read = parse_snapshot(snapshot_json(machine), "x").no_gpus;
  EXPECT_THAT(read, StartsWith("first  second?[2J ?xxx"));
  EXPECT_LE(read.size(), 4096u);
}

TEST(SnapshotJson, ReadsTheRecordedOnes) {
  int count = 0;
  for (const auto& file : std::filesystem::directory_iterator(TANDEM_SOURCE_DIR "/tests/snapshots")) {
    if (file.path().extension() != ".json") continue;
    ++count;
    EXPECT_NO_THROW(read_snapshot(file.path())) << file.path();
  }
  EXPECT_GE(count, 8);
}

TEST(SnapshotJson, LeavesUnknownFieldsAlone) {
  Json json = parse_json(snapshot_json(full_snapshot()), "");
  json["bios"] = "new";
  json["gpus"][0]["fan"] = 3;
  EXPECT_EQ(parse_snapshot(json_text(json), "x"), full_snapshot());
}

TEST(SnapshotJson, ReadsFilesFromBeforeTuning) {
  Json json = parse_json(snapshot_json(full_snapshot()), "");
  json.erase("tuned_calls");
  json.erase("tuned_inboxes");
  json.erase("profile");
  MachineSnapshot expected = full_snapshot();
  expected.profile = "";
  expected.tuning = {};
  EXPECT_EQ(parse_snapshot(json_text(json), "x"), expected);
}

TEST(SnapshotJson, RefusesTuningThatNoBackendHas) {
  EXPECT_THAT(refusal_of([](Json& j) { j["tuned_calls"][1]["backend"] = "nccl"; }),
              HasSubstr("tuned_calls[1].backend: expected p2p or native, not \"nccl\""));
  EXPECT_THAT(refusal_of([](Json& j) { j["tuned_calls"][0]["op"] = "recv"; }), HasSubstr("tuned_calls[0].op"));
  EXPECT_THAT(refusal_of([](Json& j) { j["tuned_calls"][2]["algorithm"] = "tree"; }), HasSubstr("two-shot-sentinel"));
  EXPECT_THAT(refusal_of([](Json& j) { j["tuned_calls"][2]["up_to_bytes"] = 0; }), HasSubstr("up_to_bytes"));
  EXPECT_THAT(refusal_of([](Json& j) { j["tuned_calls"][2]["blocks"] = 65537; }), HasSubstr("blocks"));
  EXPECT_THAT(refusal_of([](Json& j) { j["tuned_calls"].push_back(j["tuned_calls"][3]); }),
              HasSubstr("tuned_calls[6] is there twice"));
  EXPECT_THAT(refusal_of([](Json& j) { j["tuned_inboxes"].push_back(j["tuned_inboxes"][0]); }),
              HasSubstr("tuned_inboxes: 3 elements, 2 at most"));
  EXPECT_THAT(refusal_of([](Json& j) { j["tuned_inboxes"][1]["backend"] = "native"; }),
              HasSubstr("tuned_inboxes[1] is there twice"));
}

TEST(SnapshotJson, ReadsVersionTwoWithoutItsFactsOfTheMachine) {
  Json json = parse_json(snapshot_json(full_snapshot()), "");
  json["version"] = 2;
  json["host"] = {{"os", "new"}};
  EXPECT_EQ(parse_snapshot(json_text(json), "x"), full_snapshot());
}

TEST(SnapshotJson, RefusesOtherFiles) {
  EXPECT_THAT(refusal(""), HasSubstr("broken JSON at byte"));
  EXPECT_THAT(refusal("[]"), HasSubstr("the whole: expected an object, not an array"));
  EXPECT_THAT(refusal("{}"), HasSubstr("there is no format"));
  EXPECT_THAT(refusal_of([](Json& j) { j["format"] = "gguf"; }), HasSubstr("format: expected \"tandem-machine-snap"));
  EXPECT_THAT(refusal_of([](Json& j) { j["version"] = 3; }),
              HasSubstr("version: expected an integer of 1 to 2, not 3"));
  EXPECT_THAT(refusal_of([](Json& j) { j["version"] = 0; }), HasSubstr("version: expected"));
}

// Each field in turn: absent, then of another type.
TEST(SnapshotJson, NamesTheFieldThatIsMissingOrOfTheWrongType) {
  const Json whole = parse_json(snapshot_json(full_snapshot()), "");
  const Json flat = whole.flatten();
  int fields = 0;
  for (const auto& [pointer, value] : flat.items()) {
    const Json::json_pointer place(pointer);
    if (place.back().find_first_not_of("0123456789") == std::string::npos) continue;
    ++fields;
    if (place.back() == "profile") continue;  // older files have none
    Json json = whole;
    json.at(place.parent_pointer()).erase(place.back());
    EXPECT_THAT(refusal(json_text(json)), testing::AllOf(HasSubstr("there is no "), HasSubstr(place.back())));
    for (const Json& other : {Json(nullptr), Json(-1), Json(1e300), Json::array({1}), Json("\n"), Json(true)}) {
      if (other.type() == value.type()) continue;
      json = whole;
      json[place] = other;
      EXPECT_THAT(refusal(json_text(json)), HasSubstr(place.back())) << pointer << " " << json_text(other);
    }
  }
  EXPECT_GT(fields, 80);
}

TEST(SnapshotJson, RefusesNumbersOutOfRange) {
  EXPECT_THAT(refusal_of([](Json& j) { j["pairs"][4]["from"] = 3; }),
              HasSubstr("pairs[4].from: expected an integer of 0 to 2, not 3"));
  EXPECT_THAT(refusal_of([](Json& j) { j["pairs"][4]["to"] = 18446744073709551615u; }), HasSubstr("pairs[4].to"));
  EXPECT_THAT(refusal_of([](Json& j) { j["pairs"][0]["probe"]["rounds"] = 9223372036854775808u; }),
              HasSubstr("pairs[0].probe.rounds"));
  EXPECT_THAT(refusal_of([](Json& j) { j["pairs"][0]["probe"]["latency_us"] = -0.5; }), HasSubstr("latency_us"));
  EXPECT_THAT(refusal_of([](Json& j) { j["calls"][0]["microseconds"] = 1e30; }), HasSubstr("calls[0].microseconds"));
  EXPECT_THAT(refusal_of([](Json& j) { j["calls"][0]["bytes"] = 1.5; }), HasSubstr("calls[0].bytes"));
  for (const char* version : {"9", "9.", ".0", "9.0.1", "-9.0", "9999.0", "9. 0"}) {
    EXPECT_THAT(refusal_of([&](Json& j) { j["gpus"][1]["compute_capability"] = version; }),
                HasSubstr("gpus[1].compute_capability"));
  }
}

TEST(SnapshotJson, WantsEachOrderedPairOnce) {
  EXPECT_THAT(refusal_of([](Json& j) { j["pairs"].erase(2); }),
              HasSubstr("every ordered pair of 3 GPUs; that from 1 to 0 is missing"));
  EXPECT_THAT(refusal_of([](Json& j) { j["pairs"].push_back(j["pairs"][5]); }), HasSubstr("pairs[6] is there twice"));
  EXPECT_THAT(refusal_of([](Json& j) { j["pairs"][0]["to"] = 0; }), HasSubstr("another GPU than from"));
  EXPECT_THAT(refusal_of([](Json& j) { j["gpus"] = Json::array(); }), HasSubstr("pairs: expected no pairs"));
}

TEST(SnapshotJson, RefusesNamesThatItDoesNotKnowAndRepeats) {
  EXPECT_THAT(refusal_of([](Json& j) { j["calls"][0]["backend"] = "mpi"; }),
              HasSubstr("calls[0].backend: expected p2p, nccl, native or cpu, not \"mpi\""));
  EXPECT_THAT(refusal_of([](Json& j) { j["calls"][0]["op"] = "scan"; }), HasSubstr("all-reduce"));
  EXPECT_THAT(refusal_of([](Json& j) { j["pairs"][0]["probe"]["outcome"] = "fine"; }), HasSubstr("passed"));
  EXPECT_THAT(refusal_of([](Json& j) { j["backends"][1]["name"] = "nccl"; }), HasSubstr("backends[1] is there twice"));
  EXPECT_THAT(refusal_of([](Json& j) { j["calls"].push_back(j["calls"][0]); }), HasSubstr("calls[8] is there twice"));
}

TEST(SnapshotJson, RefusesWhatWouldSteerATerminalOrFillIt) {
  EXPECT_THAT(refusal_of([](Json& j) { j["driver"] = "580\x1b[2J"; }), HasSubstr("driver: expected one line"));
  EXPECT_THAT(refusal_of([](Json& j) { j["driver"] = "a\nb"; }), HasSubstr("driver: expected one line"));
  EXPECT_THAT(refusal_of([](Json& j) { j["driver"] = std::string(5000, 'x'); }), HasSubstr("4096 bytes at most"));
  EXPECT_THAT(refusal_of([](Json& j) { j["gpus"] = Json(std::vector<Json>(17, j["gpus"][0])); }),
              HasSubstr("gpus: 17 elements, 16 at most"));
}

}  // namespace
}  // namespace tandem
