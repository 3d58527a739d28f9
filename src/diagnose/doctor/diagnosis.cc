#include "diagnose/doctor/diagnosis.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/error.h"
#include "comm/trust/choice.h"
#include "diagnose/doctor/facts_query.h"

namespace tandem {
namespace {

bool contains(const std::vector<std::string_view>& codes, std::string_view code) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

// All that follows from a row, and from what follows.
void add_consequences(const FindingRow& row, std::set<std::string_view>& codes) {
  for (const std::string_view code : row.explains) {
    if (!codes.insert(code).second) continue;
    if (const FindingRow* next = find_row(code)) add_consequences(*next, codes);
  }
}

std::string counted(int count, std::string_view what) {
  return format("{} {}{}", count, what, count == 1 ? "" : "s");
}

// ---- why a back-end is not used

using Answer = TreeStep::Answer;

// Microseconds of all-reduce by size, of each back-end that was measured.
std::vector<std::string> measured_times(const MachineSnapshot& machine) {
  std::map<std::int64_t, std::string> by_size;
  for (const MeasuredCall& call : machine.calls) {
    if (call.op != Collective::kAllReduce) continue;
    std::string& line = by_size[call.bytes];
    line += format("{}{} {:.1f} us", line.empty() ? "" : ", ", call.backend, call.microseconds);
  }
  std::vector<std::string> lines;
  for (const auto& [bytes, line] : by_size) {
    lines.push_back(format("all-reduce of {}: {}", size_text(static_cast<std::uint64_t>(bytes)), line));
  }
  return lines;
}

class Tree {
 public:
  explicit Tree(WhyNot& why) : why_(why) {}

  /// Asks on while the answers are yes.
  void ask(std::string question, Answer answer, std::vector<std::string> details = {}) {
    if (stopped_) return;
    why_.steps.push_back({std::move(question), answer, std::move(details)});
    stopped_ = answer != Answer::kYes;
  }
  void ask(std::string question, bool yes, std::vector<std::string> details = {}) {
    ask(std::move(question), yes ? Answer::kYes : Answer::kNo, std::move(details));
  }

 private:
  WhyNot& why_;
  bool stopped_ = false;
};

std::vector<std::string> pairs_that(const MachineSnapshot& machine,
                                    const std::function<bool(const PairFacts&)>& select) {
  const std::string text = describe_pairs(machine, select);
  return text.empty() ? std::vector<std::string>{} : std::vector<std::string>{text};
}

void ask_of_pairs(const MachineSnapshot& machine, Tree& tree) {
  const auto& pairs = machine.pairs;
  const auto open = std::count_if(pairs.begin(), pairs.end(), has_access);
  tree.ask(format("does the driver give every ordered pair access? {} of {}", open, pairs.size()),
           open == static_cast<std::ptrdiff_t>(pairs.size()),
           pairs_that(machine, [](const PairFacts& pair) { return !has_access(pair); }));
  const auto count = [&](ProbeOutcome outcome) {
    return std::count_if(pairs.begin(), pairs.end(), [&](const PairFacts& p) { return p.probe.outcome == outcome; });
  };
  const auto passed = count(ProbeOutcome::kPassed), untried = count(ProbeOutcome::kNotTried);
  const auto all = static_cast<std::ptrdiff_t>(pairs.size());
  tree.ask(format("did every pair pass its probe? {} of {}", passed, pairs.size()),
           passed == all             ? Answer::kYes
           : passed + untried == all ? Answer::kUnknown
                                     : Answer::kNo,
           pairs_that(machine, [](const PairFacts& p) { return p.probe.outcome != ProbeOutcome::kPassed; }));
}

void ask_of_speed(const MachineSnapshot& machine, const std::optional<Choice>& choice, std::string_view backend,
                  Tree& tree) {
  if (!choice) return;
  const auto measured = std::any_of(machine.calls.begin(), machine.calls.end(),
                                    [&](const MeasuredCall& call) { return call.backend == backend; });
  tree.ask("was it measured?", measured ? Answer::kYes : Answer::kUnknown);
  const std::vector<std::string> used = choice->used();
  tree.ask("is it the fastest at something? (times are of all-reduce)",
           std::find(used.begin(), used.end(), backend) != used.end(), measured_times(machine));
}

std::optional<Choice> choice_of(const MachineSnapshot& machine) {
  try {
    return choose_backends(machine, "auto");
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kUnsupported) throw;
    return std::nullopt;
  }
}

std::string verdict_of(const MachineSnapshot& machine, const std::optional<Choice>& choice, WhyNot& why) {
  if (choice) {
    std::string serving;
    for (const OpPlan& plan : choice->plans) {
      const bool mine = std::any_of(plan.rows.begin(), plan.rows.end(),
                                    [&](const OpPlan::Row& row) { return row.backend == why.backend; });
      if (mine) serving += format("{}{}: {}", serving.empty() ? "" : "; ", to_string(plan.op), describe(plan));
    }
    why.serves = !serving.empty();
    if (why.serves) return format("{} is used: {}", why.backend, serving);
    for (const Rejection& rejection : choice->rejected) {
      if (rejection.backend != why.backend) continue;
      return format("{} is not used [{}]: {}", why.backend, to_string(rejection.reason), rejection.detail);
    }
  }
  const auto cannot = why_not(machine, why.backend, Evidence::kProbed);
  if (!cannot) return format("{} could serve, and nothing was measured", why.backend);
  return format("{} is not used [{}]: {}", why.backend, to_string(cannot->reason), cannot->detail);
}

}  // namespace

bool Diagnosis::healthy() const {
  return std::all_of(causes.begin(), causes.end(),
                     [](const FoundCause& cause) { return cause.severity == Severity::kInfo; });
}

const FoundCause* Diagnosis::find(std::string_view code) const {
  const auto found = std::find_if(causes.begin(), causes.end(),
                                  [&](const FoundCause& cause) { return cause.finding.row->code == code; });
  return found == causes.end() ? nullptr : &*found;
}

Diagnosis diagnose(const MachineFacts& facts) {
  std::vector<FoundFinding> found;
  for (const FindingRow& row : finding_table()) {
    if (auto seen = row.find(facts); !seen.empty()) found.push_back({&row, std::move(seen)});
  }
  std::map<std::string_view, std::set<std::string_view>> follows;  // from each of them
  std::set<std::string_view> explained;
  for (const FoundFinding& finding : found) {
    add_consequences(*finding.row, follows[finding.row->code]);
    explained.insert(follows[finding.row->code].begin(), follows[finding.row->code].end());
  }
  Diagnosis diagnosis;
  for (const FoundFinding& finding : found) {
    if (explained.contains(finding.row->code)) continue;
    FoundCause cause{.finding = finding, .severity = finding.row->severity, .consequences = {}};
    for (const FoundFinding& other : found) {
      if (!follows[finding.row->code].contains(other.row->code)) continue;
      cause.consequences.push_back(other);
      cause.severity = std::max(cause.severity, other.row->severity);
    }
    diagnosis.causes.push_back(std::move(cause));
  }
  // The table's order, but for causes whose consequences are graver than they.
  const auto rank = [](const FoundCause& cause) {
    return std::pair(!contains(cause.finding.row->stops, "p2p"), -static_cast<int>(cause.severity));
  };
  std::stable_sort(diagnosis.causes.begin(), diagnosis.causes.end(),
                   [&](const FoundCause& a, const FoundCause& b) { return rank(a) < rank(b); });
  return diagnosis;
}

std::vector<std::string> commands_of(std::string_view command, const std::vector<Observation>& seen) {
  if (command.empty()) return {};
  std::vector<std::string> subjects;
  for (const Observation& one : seen) {
    if (!one.subject.empty() && std::find(subjects.begin(), subjects.end(), one.subject) == subjects.end()) {
      subjects.push_back(one.subject);
    }
  }
  if (command.find("{}") == std::string_view::npos) subjects = {""};
  if (subjects.empty()) subjects = {"ADDRESS"};
  std::vector<std::string> commands;
  for (const std::string& subject : subjects) {
    std::string text;
    for (std::string_view rest = command; !rest.empty();) {
      const std::size_t place = rest.find("{}");
      text += rest.substr(0, place);
      if (place == std::string_view::npos) break;
      text += subject;
      rest.remove_prefix(place + 2);
    }
    commands.push_back(std::move(text));
  }
  return commands;
}

std::vector<PlannedStep> fix_plan(const Diagnosis& diagnosis) {
  std::vector<PlannedStep> plan;
  std::set<std::pair<std::string_view, std::vector<std::string>>> there;
  for (const FoundCause& cause : diagnosis.causes) {
    const FindingRow& row = *cause.finding.row;
    for (const RemedyStep& step : row.remedy) {
      std::vector<std::string> commands = commands_of(step.command, cause.finding.seen);
      if (!there.insert({commands.empty() ? step.what : "", commands}).second) continue;
      plan.push_back({row.code, step.what, step.needs, row.gain, std::move(commands)});
    }
  }
  return plan;
}

WhyNot explain_why_not(const MachineFacts& facts, const Diagnosis& diagnosis, std::string_view backend) {
  const MachineSnapshot& machine = facts.fabric;
  WhyNot why{.backend = std::string(backend)};
  Tree tree(why);
  const bool not_looked_at = machine.gpus.empty() && has_gpus(facts) && machine.no_gpus.empty();
  tree.ask(format("are there GPUs for the ranks? {}", machine.gpus.size()),
           not_looked_at          ? Answer::kUnknown
           : machine.gpus.empty() ? Answer::kNo
                                  : Answer::kYes,
           not_looked_at ? std::vector<std::string>{"the links were not looked at (--no-probe)"}
                         : std::vector<std::string>{});
  if (backend != "native") {
    const auto sliced =
        std::count_if(machine.gpus.begin(), machine.gpus.end(), [](const GpuFacts& g) { return g.is_mig; });
    tree.ask("are they whole, not slices (MIG)?", sliced == 0 || machine.gpus.size() == 1);
  }
  for (const BackendFacts& known : machine.backends) {
    if (known.name == backend) tree.ask(format("does {} work by itself?", backend), known.works, {known.detail});
  }
  if (backend == "p2p" && machine.gpus.size() > 1) ask_of_pairs(machine, tree);
  const std::optional<Choice> choice = choice_of(machine);
  ask_of_speed(machine, choice, backend, tree);
  why.verdict = not_looked_at ? format("whether {} can serve is not known without a look at the links", backend)
                              : verdict_of(machine, choice, why);
  for (const FoundCause& cause : diagnosis.causes) {
    if (contains(cause.finding.row->stops, backend)) why.explained_by.push_back(&cause);
  }
  return why;
}

std::string verdict(const MachineFacts& facts, const Diagnosis& diagnosis) {
  std::array<int, 3> counts{};
  std::string stopping;
  for (const FoundCause& cause : diagnosis.causes) {
    ++counts[static_cast<std::size_t>(cause.severity)];
    if (cause.severity == Severity::kInfo || !contains(cause.finding.row->stops, "p2p")) continue;
    stopping += format("{}{}", stopping.empty() ? "; p2p is stopped or spoilt by " : ", ", cause.finding.row->code);
  }
  const auto [infos, warnings, errors] = counts;
  if (diagnosis.healthy()) {
    return format("healthy: {}, {}", counted(num_gpus(facts), "GPU"),
                  infos == 0 ? "nothing to tell" : counted(infos, "thing") + " to know");
  }
  std::string text = errors > 0 ? counted(errors, "error") : "";
  if (warnings > 0) text += format("{}{}", text.empty() ? "" : ", ", counted(warnings, "warning"));
  return text + stopping;
}

}  // namespace tandem
