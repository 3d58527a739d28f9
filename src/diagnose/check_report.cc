// What `tandem check` prints of a machine.
#include <algorithm>

#include "base/format.h"
#include "base/json.h"
#include "base/quote.h"
#include "comm/communicator.h"
#include "comm/push/push_plan.h"
#include "comm/trust/snapshot_json.h"
#include "diagnose/check_machine.h"

namespace tandem {
namespace {

using Row = std::vector<std::string>;

// Columns two spaces apart, the last as long as it likes.
std::string table(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += i + 1 < row.size() ? format("{:<{}}  ", row[i], widths[i]) : row[i];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string or_dash(std::string text) {
  return text.empty() ? "-" : text;
}

std::string gpu_table(const MachineSnapshot& machine) {
  std::vector<Row> rows = {{"rank", "device", "GPU", "cc", "SMs", "memory", "MIG", "PCI address", "UUID"}};
  for (std::size_t rank = 0; rank < machine.gpus.size(); ++rank) {
    const GpuFacts& gpu = machine.gpus[rank];
    rows.push_back({std::to_string(rank), format("cuda:{}", gpu.index), gpu.name, format("{}.{}", gpu.major, gpu.minor),
                    std::to_string(gpu.num_sms), format("{:.1f} GB", static_cast<double>(gpu.memory_bytes) / (1 << 30)),
                    gpu.is_mig ? "yes" : "no", or_dash(gpu.pci_address), or_dash(gpu.uuid)});
  }
  return table(rows);
}

std::string pair_table(const MachineSnapshot& machine) {
  std::vector<Row> rows = {{"from -> to", "link", "access", "verified", "rounds", "latency", "bandwidth"}};
  for (const PairFacts& pair : machine.pairs) {
    const ProbeResult& probe = pair.probe;
    const std::string access = pair.can_access ? "yes" : "no";
    rows.push_back(
        {pair_name(machine, pair), or_dash(pair.link),
         pair.p2p_status.empty() || pair.p2p_status == "OK" ? access : format("{} ({})", access, pair.p2p_status),
         std::string(to_string(probe.outcome)), probe.rounds > 0 ? std::to_string(probe.rounds) : "-",
         probe.latency_us > 0 ? format("{:.2f} us", probe.latency_us) : "-",
         probe.bandwidth > 0 ? format("{:.1f} GB/s", probe.bandwidth / 1e9) : "-"});
  }
  return table(rows);
}

struct BackendLine {
  std::string name, state, reason, detail;  // state: "chosen", "not chosen", "refused"
  std::int64_t inbox_bytes = 0;             // of each rank, where messages of others land; 0: it has none
};

// As the back-end takes them where the user asks for no other number.
std::int64_t inbox_bytes_of(const MachineSnapshot& machine, const std::string& backend) {
  if (machine.gpus.empty() || (backend != "p2p" && backend != "native")) return 0;
  const auto world_size = static_cast<int>(machine.gpus.size());
  const InboxPlace place = backend == "p2p" ? InboxPlace::kPeerMemory : InboxPlace::kHostMemory;
  return InboxLayout(world_size, plan_rooms(world_size, place, machine.tuning.inbox_of(backend))).bytes();
}

std::string inbox_text(const BackendLine& line) {
  if (line.inbox_bytes == 0) return "-";
  return format("{:.1f} MB {}", static_cast<double>(line.inbox_bytes) / 1e6,
                line.name == "p2p" ? "of its GPU" : "pinned on the host");
}

// Every back-end of a choice; where there is none, those that cannot serve, with the reason.
std::vector<BackendLine> backend_lines(const MachineReport& report) {
  std::vector<BackendLine> lines;
  const std::vector<std::string> used = report.choice ? report.choice->used() : std::vector<std::string>{};
  for (const std::string& name : backend_names()) {
    const auto cannot = why_not(report.machine, name, Evidence::kProbed);
    if (cannot && cannot->reason == Reason::kGpuRanks) continue;
    BackendLine line{.name = name,
                     .state = cannot ? "refused" : "works",
                     .reason = {},
                     .detail = {},
                     .inbox_bytes = cannot ? 0 : inbox_bytes_of(report.machine, name)};
    if (std::find(used.begin(), used.end(), name) != used.end()) line.state = "chosen";
    std::vector<Rejection> reasons = report.choice ? report.choice->rejected : std::vector<Rejection>{};
    if (cannot) reasons = {*cannot};
    for (const Rejection& rejection : reasons) {
      if (rejection.backend != name) continue;
      line.reason = to_string(rejection.reason);
      line.detail = rejection.detail;
    }
    for (const BackendFacts& facts : report.machine.backends) {
      if (facts.name == name && facts.works && line.detail.empty()) line.detail = facts.detail;
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string backend_table(const MachineReport& report) {
  const bool on_gpus = !report.machine.gpus.empty();
  std::vector<Row> rows = {{"back-end", "state", "a rank's inbox", "why"}};
  for (const BackendLine& line : backend_lines(report)) {
    rows.push_back({line.name, line.state, inbox_text(line),
                    line.reason.empty() ? line.detail : format("[{}] {}", line.reason, line.detail)});
  }
  for (Row& row : rows) {
    if (!on_gpus) row.erase(row.begin() + 2);
  }
  return table(rows);
}

std::string plan_table(const MachineReport& report) {
  const Choice& choice = *report.choice;
  const std::string column = choice.wanted == "auto" ? "auto chooses" : "forced";
  std::vector<Row> rows = {{"operation", column, "by"}};
  for (const OpPlan& plan : choice.plans) {
    rows.push_back({std::string(to_string(plan.op)), describe(plan),
                    choice.wanted != "auto" ? "--tp-backend"
                    : plan.measured         ? "measurement"
                                            : "preference"});
  }
  return table(rows);
}

}  // namespace

std::string format_report(const MachineReport& report) {
  const MachineSnapshot& machine = report.machine;
  std::string text;
  if (machine.gpus.empty()) {
    text += machine.no_gpus.empty() ? "CPU ranks\n" : format("no GPU: {}\n", machine.no_gpus);
  } else {
    text += format("{} GPU{}, driver {}\n", machine.gpus.size(), machine.gpus.size() > 1 ? "s" : "",
                   machine.driver.empty() ? "not known" : machine.driver);
    text += "\n" + gpu_table(machine);
  }
  if (machine.gpus.size() == 1) text += "\none rank has nobody to talk to: there are no pairs to verify\n";
  if (!machine.pairs.empty()) text += "\n" + pair_table(machine);
  if (!machine.profile.empty()) text += format("\nprofile: {}\n", machine.profile);
  text += "\n" + backend_table(report);
  if (report.choice) text += "\n" + plan_table(report);
  text += report.healthy() ? "\nhealthy\n" : format("\nfindings: {}\n", report.findings.size());
  for (const Finding& finding : report.findings) {
    text += format("{} [{}]: {}\n", finding.fails ? "fail" : "warn", finding.code, finding.what);
    if (!finding.advice.empty()) text += format("  hint: {}\n", finding.advice);
  }
  return printable(text);
}

std::string report_json(const MachineReport& report) {
  Json json = {{"healthy", report.healthy()}, {"wanted", report.wanted},
               {"backends", Json::array()},   {"plans", Json::array()},
               {"findings", Json::array()},   {"snapshot", parse_json(snapshot_json(report.machine), "snapshot")}};
  for (const BackendLine& line : backend_lines(report)) {
    json["backends"].push_back({{"name", line.name},
                                {"state", line.state},
                                {"inbox_bytes", line.inbox_bytes},
                                {"reason", line.reason},
                                {"detail", line.detail}});
  }
  for (const OpPlan& plan : report.choice ? report.choice->plans : std::vector<OpPlan>{}) {
    Json rows = Json::array();
    for (const OpPlan::Row& row : plan.rows) {
      rows.push_back({{"up_to_bytes", row.up_to_bytes == OpPlan::kNoBound ? Json() : Json(row.up_to_bytes)},
                      {"backend", row.backend}});
    }
    json["plans"].push_back({{"op", to_string(plan.op)}, {"measured", plan.measured}, {"rows", rows}});
  }
  for (const Finding& finding : report.findings) {
    json["findings"].push_back({{"code", finding.code},
                                {"level", finding.fails ? "fail" : "warn"},
                                {"what", finding.what},
                                {"advice", finding.advice}});
  }
  return json_ascii(json, 2);
}

}  // namespace tandem
