#include "comm/trust/choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "comm/communicator.h"

namespace tandem {
namespace {

// A change of back-end has to be worth more than two measurements of the same thing differ.
constexpr double kWorthAChange = 1.03;

constexpr Collective kPlanned[] = {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter,
                                   Collective::kBroadcast, Collective::kGather,    Collective::kBarrier,
                                   Collective::kSend};

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) text += format("{}{}", text.empty() ? "" : separator, part);
  return text;
}

std::string size_text(std::int64_t bytes) {
  if (bytes >= 1 << 20) return format("{:.4g} MB", static_cast<double>(bytes) / (1 << 20));
  if (bytes >= 1 << 10) return format("{:.4g} KB", static_cast<double>(bytes) / (1 << 10));
  return format("{} B", bytes);
}

// ---- whether a back-end can serve

bool same_gpu(const MachineSnapshot& machine, const PairFacts& pair) {
  return machine.gpus[static_cast<std::size_t>(pair.from)].index ==
         machine.gpus[static_cast<std::size_t>(pair.to)].index;
}

std::string explain_no_access(const PairFacts& pair) {
  std::string text = "the driver gives no access";
  if (!pair.link.empty()) text += format(" over {}", pair.link);
  if (pair.p2p_status == "CNS") text += " (CNS: chipset not supported)";
  if (pair.p2p_status == "GNS") text += " (GNS: GPU not supported)";
  if (pair.p2p_status == "TNS") text += " (TNS: topology not supported)";
  if (pair.p2p_status == "DR") text += " (DR: disabled by a key of the driver's registry)";
  if (pair.p2p_status == "NS") text += " (NS: not supported)";
  return text;
}

std::string explain(const PairFacts& pair) {
  if (!has_access(pair)) return explain_no_access(pair);
  if (pair.probe.outcome == ProbeOutcome::kNotTried) return "not probed";
  std::string text = format("{} in {} rounds", to_string(pair.probe.outcome), pair.probe.rounds);
  if (!pair.link.empty()) text += format(" over {}", pair.link);
  return pair.probe.detail.empty() ? text : format("{} ({})", text, pair.probe.detail);
}

std::optional<Rejection> why_not_p2p(const MachineSnapshot& machine, Evidence evidence) {
  const auto rejected = [](Reason reason, std::string detail) {
    return Rejection{.backend = "p2p", .reason = reason, .detail = std::move(detail)};
  };
  constexpr std::pair<ProbeOutcome, Reason> kFailures[] = {{ProbeOutcome::kCorrupt, Reason::kCorrupt},
                                                           {ProbeOutcome::kOutOfOrder, Reason::kOutOfOrder},
                                                           {ProbeOutcome::kLost, Reason::kMessageLost},
                                                           {ProbeOutcome::kMapFailed, Reason::kMapFailed}};
  const auto& pairs = machine.pairs;
  // The worst names the reason; all that failed are told.
  for (const auto& [outcome, reason] : kFailures) {
    if (std::none_of(pairs.begin(), pairs.end(), [&](const PairFacts& p) { return p.probe.outcome == outcome; })) {
      continue;
    }
    return rejected(reason, describe_pairs(machine, [](const PairFacts& p) {
                      return !has_access(p) ||
                             (p.probe.outcome != ProbeOutcome::kPassed && p.probe.outcome != ProbeOutcome::kNotTried);
                    }));
  }
  const auto without = std::count_if(pairs.begin(), pairs.end(), [](const PairFacts& p) { return !has_access(p); });
  if (without > 0) {
    const bool none = without == static_cast<std::ptrdiff_t>(pairs.size());
    return rejected(none ? Reason::kNoPeerAccess : Reason::kPartialMesh,
                    format("{} of {} ordered pairs have no peer access: {}", without, pairs.size(),
                           describe_pairs(machine, [](const PairFacts& p) { return !has_access(p); })));
  }
  const auto is_open = [&](const PairFacts& pair) {
    return pair.probe.outcome != ProbeOutcome::kPassed && !same_gpu(machine, pair);
  };
  if (evidence == Evidence::kProbed && std::any_of(pairs.begin(), pairs.end(), is_open)) {
    return rejected(Reason::kNotProbed, format("{} of {} ordered pairs have not been verified: {}",
                                               std::count_if(pairs.begin(), pairs.end(), is_open), pairs.size(),
                                               describe_pairs(machine, is_open)));
  }
  return std::nullopt;
}

bool shares_a_gpu(const MachineSnapshot& machine) {
  return std::any_of(machine.pairs.begin(), machine.pairs.end(),
                     [&](const PairFacts& pair) { return same_gpu(machine, pair); });
}

// ---- which of them serves what

using Times = std::map<std::int64_t, std::map<std::string, double>>;  // by bytes and back-end

Times times_of(const MachineSnapshot& machine, Collective op, const std::vector<std::string>& serving) {
  Times times;
  for (const MeasuredCall& call : machine.calls) {
    const bool serves = std::find(serving.begin(), serving.end(), call.backend) != serving.end();
    if (call.op == op && serves && call.microseconds > 0) times[call.bytes][call.backend] = call.microseconds;
  }
  return times;
}

// `before` served the size below; empty: there is none.
std::string fastest(const std::map<std::string, double>& times, const std::vector<std::string>& serving,
                    const std::string& before) {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [backend, time] : times) least = std::min(least, time);
  const auto good_enough = [&](const std::string& backend) {
    const auto time = times.find(backend);
    return time != times.end() && time->second <= least * kWorthAChange;
  };
  if (good_enough(before)) return before;
  if (before.empty()) return *std::find_if(serving.begin(), serving.end(), good_enough);
  return *std::find_if(serving.begin(), serving.end(), [&](const std::string& backend) {
    return times.contains(backend) && times.at(backend) == least;
  });
}

OpPlan plan_op(const MachineSnapshot& machine, Collective op, const std::vector<std::string>& serving) {
  const Times times = times_of(machine, op, serving);
  OpPlan plan{.op = op, .measured = !times.empty(), .rows = {}};
  std::string backend = times.empty() ? serving.front() : "";
  std::int64_t size_before = 0;
  for (const auto& [bytes, by_backend] : times) {
    const std::string next = fastest(by_backend, serving, backend);
    if (!backend.empty() && next != backend) {
      const double mean = std::sqrt(static_cast<double>(size_before) * static_cast<double>(bytes));
      plan.rows.push_back({std::clamp(static_cast<std::int64_t>(mean), size_before, bytes - 1), backend});
    }
    backend = next;
    size_before = bytes;
  }
  plan.rows.push_back({OpPlan::kNoBound, backend});
  return plan;
}

// Of a back-end that could serve and that no plan names.
Rejection why_unused(const MachineSnapshot& machine, const Choice& choice, const std::vector<std::string>& serving,
                     const std::string& backend) {
  double closest = std::numeric_limits<double>::infinity();
  std::string where;
  for (const OpPlan& plan : choice.plans) {
    for (const auto& [bytes, times] : times_of(machine, plan.op, serving)) {
      const std::string& chosen = choice.backend_for(plan.op, bytes);
      const auto time = times.find(backend);
      const auto other = times.find(chosen);
      if (time == times.end() || other == times.end() || time->second / other->second >= closest) continue;
      closest = time->second / other->second;
      where = format("{} of {}: {:.2f} us, {} {:.2f} us", to_string(plan.op), size_text(bytes), time->second, chosen,
                     other->second);
    }
  }
  if (where.empty()) {
    return {backend, Reason::kNotMeasured, format("was not measured; {} serves", joined(choice.used(), " and "))};
  }
  return {backend, Reason::kSlower, "nowhere faster by more than 3 %; closest in " + where};
}

// ---- what is told

std::vector<std::string> describe_machine(const MachineSnapshot& machine) {
  const std::size_t num_gpus = machine.gpus.size();
  if (num_gpus == 0) {
    return {machine.no_gpus.empty() ? "ranks are CPUs" : format("ranks are CPUs; no GPU: {}", machine.no_gpus)};
  }
  const std::string driver = machine.driver.empty() ? "driver version not known" : "driver " + machine.driver;
  if (num_gpus == 1) {
    return {format("1 GPU, {}: {}; one rank has nobody to talk to", machine.gpus[0].name, driver)};
  }
  std::map<std::string, int> names;
  for (const GpuFacts& gpu : machine.gpus) ++names[gpu.name];
  std::vector<std::string> gpus;
  for (const auto& [name, count] : names) gpus.push_back(format("{} x {}", count, name));
  std::map<std::string, std::vector<std::string>> links;
  for (const PairFacts& pair : machine.pairs) {
    if (pair.from < pair.to) {
      links[pair.link.empty() ? "not known" : pair.link].push_back(format("{}-{}", pair.from, pair.to));
    }
  }
  std::string link_text;
  for (const auto& [link, pairs] : links) {
    link_text += format("{}{} {}", link_text.empty() ? "" : "; ",
                        links.size() == 1 && num_gpus > 2 ? "all" : joined(pairs, ","), link);
  }
  return {format("{} ranks: {}, {}", num_gpus, joined(gpus, ", "), driver), "links: " + link_text};
}

std::string describe_serving(const MachineSnapshot& machine, const std::string& backend) {
  for (const BackendFacts& facts : machine.backends) {
    if (facts.name == backend && !facts.detail.empty()) return format("{} works: {}", backend, facts.detail);
  }
  if (backend != "p2p" || machine.pairs.empty()) return backend + " works";
  double slowest = 0, least = std::numeric_limits<double>::infinity();
  for (const PairFacts& pair : machine.pairs) {
    slowest = std::max(slowest, pair.probe.latency_us);
    least = std::min(least, pair.probe.bandwidth);
  }
  std::string text = format("p2p works: all {} ordered pairs verified", machine.pairs.size());
  if (slowest > 0) text += format(", {:.2f} us at most", slowest);
  if (least > 0) text += format(", {:.4g} GB/s at least", least / 1e9);
  return text;
}

[[noreturn]] void refuse(std::string_view wanted, const std::vector<Rejection>& reasons,
                         const std::vector<std::string>& serving) {
  std::string message = wanted == "auto" ? "no communication back-end can serve these devices"
                                         : format("communication back-end \"{}\" cannot serve these devices", wanted);
  for (const Rejection& rejection : reasons) {
    if (wanted == "auto" || rejection.backend == wanted) {
      message += format("\n  {} [{}]: {}", rejection.backend, to_string(rejection.reason), rejection.detail);
    }
  }
  std::string hint = serving.empty()
                         ? "tandem check tells more of the machine"
                         : format("use --tp-backend auto, or one that works here: {}", joined(serving, ", "));
  const auto forced = std::find_if(reasons.begin(), reasons.end(), [&](const auto& r) { return r.backend == wanted; });
  if (forced != reasons.end() && !advice(forced->reason).empty()) hint += format("; {}", advice(forced->reason));
  fail_with_hint(ErrorKind::kUnsupported, message, hint);
}

}  // namespace

bool has_access(const PairFacts& pair) {
  return pair.can_access && pair.probe.outcome != ProbeOutcome::kNoAccess;
}

std::string describe_pairs(const MachineSnapshot& machine, const std::function<bool(const PairFacts&)>& select) {
  std::vector<std::pair<std::string, std::string>> stories;  // of which pairs
  for (const PairFacts& pair : machine.pairs) {
    if (!select(pair)) continue;
    const std::string story = explain(pair);
    auto same = std::find_if(stories.begin(), stories.end(), [&](const auto& s) { return s.first == story; });
    if (same == stories.end()) {
      stories.emplace_back(story, pair_name(machine, pair));
    } else {
      same->second += ", " + pair_name(machine, pair);
    }
  }
  std::string text;
  for (const auto& [story, pairs] : stories) text += format("{}{}: {}", text.empty() ? "" : "; ", pairs, story);
  return text;
}

std::string describe(const OpPlan& plan) {
  std::string text;
  for (const OpPlan::Row& row : plan.rows) {
    if (row.up_to_bytes != OpPlan::kNoBound) {
      text += format("{} up to {}, ", row.backend, size_text(row.up_to_bytes));
    } else {
      text += row.backend + (plan.rows.size() > 1 ? " above" : "");
    }
  }
  return text;
}

std::string_view to_string(Reason reason) {
  static constexpr std::string_view kNames[] = {"no-gpu",         "gpu-ranks",    "mig",          "shared-gpu",
                                                "corrupt",        "out-of-order", "message-lost", "map-failed",
                                                "no-peer-access", "partial-mesh", "not-probed",   "nccl-missing",
                                                "failed",         "slower",       "not-measured", "forced-other"};
  return kNames[static_cast<int>(reason)];
}

std::string_view advice(Reason reason) {
  switch (reason) {
    case Reason::kCorrupt:
    case Reason::kOutOfOrder:
    case Reason::kMessageLost:
      return "the IOMMU, or ACS redirection in the bridges between the GPUs, is the usual cause: boot with iommu=pt or "
             "without IOMMU, and turn ACS off on these bridges; inside a virtual machine only its host can";
    case Reason::kMapFailed:
      return "where resizable BAR is smaller than the GPU's memory, turn it on in the firmware; machines with NVSwitch "
             "need their fabric manager";
    case Reason::kNoPeerAccess:
    case Reason::kPartialMesh:
      return "NVIDIA's driver for GeForce cards gives peer access over NVLink only, and none across generations of "
             "GPUs";
    case Reason::kMig:
      return "turn MIG off (nvidia-smi -mig 0, as root) if these GPUs are to be peers";
    case Reason::kNotProbed:
      return "tandem check verifies the pairs of this machine";
    case Reason::kNcclMissing:
      return "install NCCL 2.17 or newer, or name its file in TANDEM_NCCL_LIBRARY";
    case Reason::kNoGpu:
      return "leave --tp-backend out, or list GPUs in --devices";
    default:
      return "";
  }
}

std::optional<Rejection> why_not(const MachineSnapshot& machine, std::string_view backend, Evidence evidence) {
  const auto rejected = [&](Reason reason, std::string detail) {
    return Rejection{.backend = std::string(backend), .reason = reason, .detail = std::move(detail)};
  };
  const auto facts = std::find_if(machine.backends.begin(), machine.backends.end(),
                                  [&](const BackendFacts& f) { return f.name == backend; });
  const bool broken = facts != machine.backends.end() && !facts->works;
  if (backend == "cpu") {
    if (!machine.gpus.empty()) return rejected(Reason::kGpuRanks, "cpu serves ranks on CPUs, and these are on GPUs");
    return broken ? std::optional(rejected(Reason::kFailed, facts->detail)) : std::nullopt;
  }
  if (machine.gpus.empty()) {
    return rejected(Reason::kNoGpu, machine.no_gpus.empty() ? "the ranks are CPUs" : machine.no_gpus);
  }
  const auto mig = std::find_if(machine.gpus.begin(), machine.gpus.end(), [](const GpuFacts& g) { return g.is_mig; });
  if (backend != "native" && machine.gpus.size() > 1 && mig != machine.gpus.end()) {
    return rejected(Reason::kMig, format("cuda:{} ({}) is in MIG mode, which has no peers", mig->index, mig->name));
  }
  if (backend == "nccl") {
    if (facts == machine.backends.end()) return rejected(Reason::kNcclMissing, "nobody looked for it");
    if (broken) return rejected(Reason::kNcclMissing, facts->detail);
    if (shares_a_gpu(machine)) return rejected(Reason::kSharedGpu, "two ranks have one GPU, which NCCL does not allow");
    return std::nullopt;
  }
  if (broken) return rejected(Reason::kFailed, facts->detail);
  return backend == "p2p" ? why_not_p2p(machine, evidence) : std::nullopt;
}

const std::string& Choice::backend_for(Collective op, std::int64_t bytes) const {
  if (op == Collective::kRecv) op = Collective::kSend;
  const auto plan = std::find_if(plans.begin(), plans.end(), [&](const OpPlan& p) { return p.op == op; });
  TANDEM_CHECK(plan != plans.end(), "no plan of {}", to_string(op));
  const auto row =
      std::find_if(plan->rows.begin(), plan->rows.end(), [&](const OpPlan::Row& r) { return bytes <= r.up_to_bytes; });
  return row->backend;
}

std::vector<std::string> Choice::used() const {
  std::set<std::string> named;
  for (const OpPlan& plan : plans) {
    for (const OpPlan::Row& row : plan.rows) named.insert(row.backend);
  }
  std::vector<std::string> ordered;
  std::copy_if(backend_names().begin(), backend_names().end(), std::back_inserter(ordered),
               [&](const std::string& name) { return named.contains(name); });
  return ordered;
}

std::vector<std::string> Choice::log_lines() const {
  std::vector<std::string> lines = facts;
  for (const Rejection& rejection : rejected) {
    lines.push_back(format("{} rejected [{}]: {}", rejection.backend, to_string(rejection.reason), rejection.detail));
  }
  for (std::size_t i = 0; i < plans.size();) {  // operations of the same plan share a line
    std::vector<std::string> ops;
    const OpPlan& plan = plans[i];
    for (; i < plans.size() && plans[i].rows == plan.rows && plans[i].measured == plan.measured; ++i) {
      ops.emplace_back(to_string(plans[i].op));
    }
    lines.push_back(format("{}: {}{}", joined(ops, ", "), describe(plan),
                           wanted != "auto" ? " (forced)"
                           : plan.measured  ? " (measured)"
                                            : " (by preference)"));
  }
  return lines;
}

Choice choose_backends(const MachineSnapshot& machine, std::string_view wanted) {
  const std::vector<std::string>& names = backend_names();
  if (wanted != "auto" && std::find(names.begin(), names.end(), wanted) == names.end()) {
    fail_with_hint(ErrorKind::kInvalidArgument, format("unknown communication back-end \"{}\"", wanted),
                   "known are auto, " + joined(names, ", "));
  }
  Choice choice{.wanted = std::string(wanted), .plans = {}, .rejected = {}, .facts = describe_machine(machine)};
  std::vector<std::string> serving;
  for (const std::string& name : names) {
    if (auto rejection = why_not(machine, name, Evidence::kProbed)) {
      // Of GPUs nobody expects it.
      if (rejection->reason != Reason::kGpuRanks || wanted == name) choice.rejected.push_back(*std::move(rejection));
    } else {
      serving.push_back(name);
    }
  }
  const bool can_serve = std::find(serving.begin(), serving.end(), wanted) != serving.end();
  if (wanted == "auto" ? serving.empty() : !can_serve) refuse(wanted, choice.rejected, serving);
  for (const std::string& name : serving) choice.facts.push_back(describe_serving(machine, name));
  if (!machine.profile.empty()) choice.facts.push_back("profile: " + machine.profile);

  const std::vector<std::string> competing = wanted == "auto" ? serving : std::vector{std::string(wanted)};
  for (const Collective op : kPlanned) choice.plans.push_back(plan_op(machine, op, competing));
  const std::vector<std::string> used = choice.used();
  for (const std::string& name : serving) {
    if (std::find(used.begin(), used.end(), name) != used.end()) continue;
    choice.rejected.push_back(wanted == "auto" ? why_unused(machine, choice, serving, name)
                                               : Rejection{name, Reason::kForcedOther, format("{} was named", wanted)});
  }
  return choice;
}

}  // namespace tandem
