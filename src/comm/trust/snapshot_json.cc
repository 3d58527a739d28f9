#include "comm/trust/snapshot_json.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "comm/communicator.h"
#include "comm/trust/snapshot_field.h"

namespace tandem {
namespace {

constexpr std::string_view kFormat = "tandem-machine-snapshot";
constexpr int kVersion = 1, kNewestVersion = 2;  // 2: with facts of the machine, which are left alone here
constexpr std::size_t kMaxCalls = 100'000;
constexpr std::size_t kMaxTuned = 4096;  // looked through at each call

constexpr std::array kOutcomes = {ProbeOutcome::kNotTried,  ProbeOutcome::kPassed, ProbeOutcome::kNoAccess,
                                  ProbeOutcome::kMapFailed, ProbeOutcome::kLost,   ProbeOutcome::kCorrupt,
                                  ProbeOutcome::kOutOfOrder};
constexpr std::array kCollectives = {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter,
                                     Collective::kBroadcast, Collective::kGather,    Collective::kBarrier,
                                     Collective::kSend,      Collective::kRecv};

constexpr std::array kAlgorithms = {TunedAlgorithm::kBuiltIn,         TunedAlgorithm::kOneShotTagged,
                                    TunedAlgorithm::kOneShotSentinel, TunedAlgorithm::kTwoShotSentinel,
                                    TunedAlgorithm::kRingTagged,      TunedAlgorithm::kRingBulk};
constexpr std::array kTunedCollectives = {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter,
                                          Collective::kBroadcast, Collective::kGather,    Collective::kSend};

ProbeResult probe_of(const SnapshotField& field) {
  return {.outcome = field.at("outcome").one_of(kOutcomes),
          .rounds = field.at("rounds").integer<std::int64_t>(0, std::numeric_limits<std::int64_t>::max()),
          .detail = field.at("detail").text(),
          .latency_us = field.at("latency_us").number(),
          .bandwidth = field.at("bandwidth").number()};
}

GpuFacts gpu_of(const SnapshotField& field) {
  const auto [major, minor] = field.at("compute_capability").compute_capability();
  return {.index = field.at("index").integer(0, 1 << 16),
          .name = field.at("name").text(),
          .uuid = field.at("uuid").text(),
          .pci_address = field.at("pci_address").text(),
          .major = major,
          .minor = minor,
          .num_sms = field.at("num_sms").integer(0, 1 << 20),
          .memory_bytes = field.at("memory_bytes").integer<std::uint64_t>(0, std::numeric_limits<std::uint64_t>::max()),
          .is_mig = field.at("mig").boolean()};
}

void read_pairs(const SnapshotField& field, MachineSnapshot& machine) {
  const auto num_gpus = static_cast<int>(machine.gpus.size());
  std::set<std::pair<int, int>> seen;
  for (const SnapshotField& entry : field.elements(static_cast<std::size_t>(kMaxWorldSize) * kMaxWorldSize)) {
    if (num_gpus < 2) field.refuse("no pairs of fewer than two GPUs");
    PairFacts pair{.from = entry.at("from").integer(0, num_gpus - 1),
                   .to = entry.at("to").integer(0, num_gpus - 1),
                   .link = entry.at("link").text(),
                   .can_access = entry.at("can_access").boolean(),
                   .probe = probe_of(entry.at("probe")),
                   .p2p_status = entry.at("p2p_status").text()};
    if (pair.from == pair.to) entry.at("to").refuse("another GPU than from");
    if (!seen.emplace(pair.from, pair.to).second) entry.refuse_twice();
    machine.pairs.push_back(std::move(pair));
  }
  for (int from = 0; from < num_gpus; ++from) {
    for (int to = 0; to < num_gpus; ++to) {
      if (from != to && !seen.contains({from, to})) {
        field.refuse(format("every ordered pair of {} GPUs; that from {} to {} is missing", num_gpus, from, to));
      }
    }
  }
}

std::string tuned_backend_of(const SnapshotField& field) {
  const std::string name = field.text();
  if (name != "p2p" && name != "native") field.refuse("p2p or native");
  return name;
}

Tuning tuning_of(const SnapshotField& top) {
  Tuning tuning;
  if (top.has("tuned_calls")) {
    std::set<std::tuple<std::string, Collective, std::int64_t>> seen;
    for (const SnapshotField& field : top.at("tuned_calls").elements(kMaxTuned)) {
      tuning.calls.push_back({.backend = tuned_backend_of(field.at("backend")),
                              .op = field.at("op").one_of(kTunedCollectives),
                              .up_to_bytes = field.at("up_to_bytes").integer<std::int64_t>(1, TunedCalls::kNoBound),
                              .algorithm = field.at("algorithm").one_of(kAlgorithms),
                              .blocks = field.at("blocks").integer(0, 1 << 16)});
      const TunedCalls& row = tuning.calls.back();
      if (!seen.emplace(row.backend, row.op, row.up_to_bytes).second) field.refuse_twice();
    }
  }
  if (top.has("tuned_inboxes")) {
    std::set<std::string> seen;
    for (const SnapshotField& field : top.at("tuned_inboxes").elements(2)) {
      tuning.inboxes.push_back({.backend = tuned_backend_of(field.at("backend")),
                                .bytes = field.at("bytes").integer<std::int64_t>(1, TunedCalls::kNoBound)});
      if (!seen.insert(tuning.inboxes.back().backend).second) field.refuse_twice();
    }
  }
  return tuning;
}

}  // namespace

std::string snapshot_json(const MachineSnapshot& machine) {
  Json json = {{"format", kFormat},
               {"version", kVersion},
               {"driver", one_line(machine.driver)},
               {"no_gpus", one_line(machine.no_gpus)},
               {"no_nvml", one_line(machine.no_nvml)},
               {"profile", one_line(machine.profile)},
               {"gpus", Json::array()},
               {"pairs", Json::array()},
               {"backends", Json::array()},
               {"calls", Json::array()},
               {"tuned_calls", Json::array()},
               {"tuned_inboxes", Json::array()}};
  for (const GpuFacts& gpu : machine.gpus) {
    json["gpus"].push_back({{"index", gpu.index},
                            {"name", one_line(gpu.name)},
                            {"uuid", one_line(gpu.uuid)},
                            {"pci_address", one_line(gpu.pci_address)},
                            {"compute_capability", format("{}.{}", gpu.major, gpu.minor)},
                            {"num_sms", gpu.num_sms},
                            {"memory_bytes", gpu.memory_bytes},
                            {"mig", gpu.is_mig}});
  }
  for (const PairFacts& pair : machine.pairs) {
    json["pairs"].push_back({{"from", pair.from},
                             {"to", pair.to},
                             {"link", one_line(pair.link)},
                             {"can_access", pair.can_access},
                             {"p2p_status", one_line(pair.p2p_status)},
                             {"probe",
                              {{"outcome", to_string(pair.probe.outcome)},
                               {"rounds", pair.probe.rounds},
                               {"detail", one_line(pair.probe.detail)},
                               {"latency_us", pair.probe.latency_us},
                               {"bandwidth", pair.probe.bandwidth}}}});
  }
  for (const BackendFacts& backend : machine.backends) {
    json["backends"].push_back(
        {{"name", backend.name}, {"works", backend.works}, {"detail", one_line(backend.detail)}});
  }
  for (const MeasuredCall& call : machine.calls) {
    json["calls"].push_back({{"backend", call.backend},
                             {"op", to_string(call.op)},
                             {"bytes", call.bytes},
                             {"microseconds", call.microseconds}});
  }
  for (const TunedCalls& row : machine.tuning.calls) {
    json["tuned_calls"].push_back({{"backend", row.backend},
                                   {"op", to_string(row.op)},
                                   {"up_to_bytes", row.up_to_bytes},
                                   {"algorithm", to_string(row.algorithm)},
                                   {"blocks", row.blocks}});
  }
  for (const TunedInbox& inbox : machine.tuning.inboxes) {
    json["tuned_inboxes"].push_back({{"backend", inbox.backend}, {"bytes", inbox.bytes}});
  }
  return json_text(json, 1) + "\n";
}

MachineSnapshot parse_snapshot(std::string_view text, std::string_view origin) {
  const Json json = parse_json(text, origin);
  const SnapshotField top(json, origin);
  if (const SnapshotField field = top.at("format"); field.text() != kFormat) field.refuse(format("\"{}\"", kFormat));
  top.at("version").integer(kVersion, kNewestVersion);
  MachineSnapshot machine{
      .driver = top.at("driver").text(), .no_gpus = top.at("no_gpus").text(), .no_nvml = top.at("no_nvml").text()};
  if (top.has("profile")) machine.profile = top.at("profile").text();
  for (const SnapshotField& field : top.at("gpus").elements(kMaxWorldSize)) machine.gpus.push_back(gpu_of(field));
  read_pairs(top.at("pairs"), machine);
  std::set<std::string> backends;
  for (const SnapshotField& field : top.at("backends").elements(backend_names().size())) {
    machine.backends.push_back({.name = field.at("name").backend(),
                                .works = field.at("works").boolean(),
                                .detail = field.at("detail").text()});
    if (!backends.insert(machine.backends.back().name).second) field.refuse_twice();
  }
  std::set<std::tuple<std::string, Collective, std::int64_t>> calls;
  for (const SnapshotField& field : top.at("calls").elements(kMaxCalls)) {
    machine.calls.push_back({.backend = field.at("backend").backend(),
                             .op = field.at("op").one_of(kCollectives),
                             .bytes = field.at("bytes").integer<std::int64_t>(0, std::int64_t{1} << 50),
                             .microseconds = field.at("microseconds").number()});
    const MeasuredCall& call = machine.calls.back();
    if (!calls.emplace(call.backend, call.op, call.bytes).second) field.refuse_twice();
  }
  machine.tuning = tuning_of(top);
  return machine;
}

MachineSnapshot read_snapshot(const std::filesystem::path& path) {
  return parse_snapshot(read_text_file(path), path.string());
}

}  // namespace tandem
