#include "diagnose/doctor/doctor_report.h"

#include <algorithm>

#include "base/format.h"
#include "base/json.h"
#include "diagnose/doctor/text_block.h"
#include "diagnose/machine/facts_json.h"

namespace tandem {
namespace {

constexpr std::size_t kMostShown = 8;  // of the same; JSON has all

std::string coloured(std::string_view text, std::string_view colour, const ReportStyle& style) {
  return style.colour ? format("\x1b[{}m{}\x1b[0m", colour, text) : std::string(text);
}

std::string_view colour_of(Severity severity) {
  switch (severity) {
    case Severity::kError:
      return "1;31";
    case Severity::kWarning:
      return "1;33";
    default:
      return "1;36";
  }
}

std::string observations(const std::vector<Observation>& seen, std::string_view indent) {
  std::string text;
  for (std::size_t i = 0; i < seen.size() && i < kMostShown; ++i) text += wrapped(indent, seen[i].text);
  if (seen.size() > kMostShown) text += format("{}and {} more; --json has all\n", indent, seen.size() - kMostShown);
  return text;
}

std::string command_lines(const std::vector<std::string>& commands, std::string_view indent) {
  std::string text;
  for (const std::string& command : commands) {
    for (std::string_view rest = command; !rest.empty();) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      text += format("{}{}\n", indent, printable(rest.substr(0, end)));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return text;
}

std::string with_needs(std::string_view what, std::string_view needs) {
  return needs.empty() ? std::string(what) : format("{} [{}]", what, needs);
}

std::string describe_cause(const FoundCause& cause, const ReportStyle& style) {
  const FindingRow& row = *cause.finding.row;
  std::string heading = wrapped("", format("{} [{}]: {}", to_string(cause.severity), row.code, row.title));
  const std::string_view severity = to_string(cause.severity);
  heading.replace(0, severity.size(), coloured(severity, colour_of(cause.severity), style));
  std::string text = heading + observations(cause.finding.seen, "  ");
  text += wrapped("  why:  ", row.cause);
  for (const RemedyStep& step : row.remedy) {
    text += wrapped("  do:   ", with_needs(step.what, step.needs));
    text += command_lines(commands_of(step.command, cause.finding.seen), "          ");
  }
  text += wrapped("  gain: ", row.gain);
  for (const FoundFinding& consequence : cause.consequences) {
    text += wrapped("  so:   ", format("[{}] {}", consequence.row->code, consequence.row->title));
    text += observations(consequence.seen, "          ");
  }
  return text;
}

std::string_view answer_text(TreeStep::Answer answer) {
  static constexpr std::string_view kNames[] = {"yes", "no", "unknown"};
  return kNames[static_cast<int>(answer)];
}

Json texts(const std::vector<Observation>& seen) {
  Json list = Json::array();
  for (const Observation& one : seen) list.push_back(one.text);
  return list;
}

Json cause_json(const FoundCause& cause) {
  const FindingRow& row = *cause.finding.row;
  Json json = {{"code", row.code},
               {"severity", to_string(cause.severity)},
               {"title", row.title},
               {"stops", row.stops},
               {"evidence", texts(cause.finding.seen)},
               {"cause", row.cause},
               {"gain", row.gain},
               {"remedy", Json::array()},
               {"consequences", Json::array()}};
  for (const RemedyStep& step : row.remedy) {
    json["remedy"].push_back(
        {{"what", step.what}, {"needs", step.needs}, {"commands", commands_of(step.command, cause.finding.seen)}});
  }
  for (const FoundFinding& consequence : cause.consequences) {
    json["consequences"].push_back({{"code", consequence.row->code}, {"evidence", texts(consequence.seen)}});
  }
  return json;
}

Json why_json(const WhyNot& why) {
  Json json = {{"backend", why.backend},
               {"serves", why.serves},
               {"verdict", why.verdict},
               {"steps", Json::array()},
               {"explained_by", Json::array()}};
  for (const TreeStep& step : why.steps) {
    json["steps"].push_back(
        {{"question", step.question}, {"answer", answer_text(step.answer)}, {"details", step.details}});
  }
  for (const FoundCause* cause : why.explained_by) json["explained_by"].push_back(cause->finding.row->code);
  return json;
}

}  // namespace

std::string format_diagnosis(const MachineFacts& facts, const Diagnosis& diagnosis, const ReportStyle& style) {
  std::string text;
  if (!facts.composed.empty()) text += wrapped("", "a machine that nobody recorded: " + facts.composed) + "\n";
  for (const FoundCause& cause : diagnosis.causes) text += describe_cause(cause, style) + "\n";
  return text + wrapped("", verdict(facts, diagnosis));
}

std::string format_why_not(const WhyNot& why, const ReportStyle& style) {
  std::string text = format("why not {}?\n", why.backend);
  for (const TreeStep& step : why.steps) {
    const std::string_view answer = answer_text(step.answer);
    std::string line = wrapped(format("  {:<8}", answer), step.question);
    line.replace(2, answer.size(), coloured(answer, step.answer == TreeStep::Answer::kYes ? "32" : "31", style));
    text += line;
    for (const std::string& detail : step.details) {
      if (!detail.empty()) text += wrapped("          ", detail);
    }
  }
  text += wrapped("", why.verdict);
  for (const FoundCause* cause : why.explained_by) {
    text += wrapped("  see ", format("[{}] {}", cause->finding.row->code, cause->finding.row->title));
  }
  return text;
}

std::string format_fix_plan(const std::vector<PlannedStep>& plan) {
  if (plan.empty()) return "nothing to mend\n";
  std::string text = wrapped("", "what one can do, in this order; Tandem runs none of it");
  std::string_view code;
  int number = 0;
  for (const PlannedStep& step : plan) {
    if (step.code != code) text += "\n" + wrapped("", format("[{}] gain: {}", step.code, step.gain));
    code = step.code;
    text += wrapped(format("{:>3}. ", ++number), with_needs(step.what, step.needs));
    text += command_lines(step.commands, "       ");
  }
  return text;
}

std::string doctor_json(const MachineFacts& facts, const Diagnosis& diagnosis, const WhyNot* why) {
  Json json = {{"healthy", diagnosis.healthy()},
               {"verdict", verdict(facts, diagnosis)},
               {"findings", Json::array()},
               {"fix_plan", Json::array()},
               {"facts", parse_json(machine_facts_json(facts), "facts")}};
  for (const FoundCause& cause : diagnosis.causes) json["findings"].push_back(cause_json(cause));
  for (const PlannedStep& step : fix_plan(diagnosis)) {
    json["fix_plan"].push_back({{"code", step.code},
                                {"what", step.what},
                                {"needs", step.needs},
                                {"gain", step.gain},
                                {"commands", step.commands}});
  }
  if (why != nullptr) json["why_not"] = why_json(*why);
  return json_ascii(json, 2);
}

}  // namespace tandem
