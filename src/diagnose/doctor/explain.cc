#include "diagnose/doctor/explain.h"

#include <algorithm>

#include "base/error.h"
#include "base/format.h"
#include "base/json.h"
#include "comm/trust/choice.h"
#include "diagnose/doctor/cuda_codes.h"
#include "diagnose/doctor/diagnosis.h"
#include "diagnose/doctor/known_versions.h"
#include "diagnose/doctor/text_block.h"

namespace tandem {
namespace {

/// A meaning of a code; some have several: a finding's may be a reason's as well.
struct Meaning {
  std::string_view code;
  std::string_view of;  ///< "finding", "reason", "probe", "check", "error", "cuda"
  std::string_view title;
  std::string_view remedy = {};
  int number = 0;  ///< of an error of CUDA
};

std::string_view described(std::string_view of) {
  if (of == "finding") return "finding of tandem doctor";
  if (of == "reason") return "reason for which a back-end is not used";
  if (of == "probe") return "outcome of the probe of a pair";
  if (of == "check") return "finding of tandem check";
  if (of == "cuda") return "error of CUDA";
  return "kind of error";
}

std::string_view title_of(Reason reason) {
  switch (reason) {
    case Reason::kNoGpu:
      return "the ranks are CPUs";
    case Reason::kGpuRanks:
      return "cpu was named, and the ranks are GPUs";
    case Reason::kMig:
      return "a GPU is a slice, or cut into slices; slices have no peers";
    case Reason::kSharedGpu:
      return "two ranks have one GPU, which NCCL does not allow";
    case Reason::kCorrupt:
      return "a pair failed its probe: it delivered wrong data";
    case Reason::kOutOfOrder:
      return "a pair failed its probe: its data came in the wrong order";
    case Reason::kMessageLost:
      return "a pair failed its probe: data did not arrive";
    case Reason::kMapFailed:
      return "a pair failed its probe: the peer's memory could not be mapped";
    case Reason::kNoPeerAccess:
      return "the driver gives no pair access";
    case Reason::kPartialMesh:
      return "the driver gives some pairs access; p2p needs all";
    case Reason::kNotProbed:
      return "pairs were not verified";
    case Reason::kNcclMissing:
      return "there is no NCCL that can be used";
    case Reason::kFailed:
      return "it was tried and does not work here";
    case Reason::kSlower:
      return "it could serve, and is nowhere the fastest";
    case Reason::kNotMeasured:
      return "it could serve, and another that was measured, or comes first, does";
    case Reason::kForcedOther:
      return "it could serve, and the user named another";
  }
  return "";
}

std::string_view title_of(ProbeOutcome outcome) {
  switch (outcome) {
    case ProbeOutcome::kNotTried:
      return "nobody has verified the pair";
    case ProbeOutcome::kPassed:
      return "the pair was verified: what one GPU wrote, the other read, in order";
    case ProbeOutcome::kNoAccess:
      return "the driver gives the pair no access";
    case ProbeOutcome::kMapFailed:
      return "the peer's memory could not be mapped";
    case ProbeOutcome::kLost:
      return "a message did not arrive within its time";
    case ProbeOutcome::kCorrupt:
      return "a message arrived changed";
    case ProbeOutcome::kOutOfOrder:
      return "a flag arrived before the data that it announces";
  }
  return "";
}

Meaning meaning_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument:
      return {"invalid-argument", "error", "a value that was passed cannot be: a flag, an option, a prompt",
              "the message names it and what it may be; tandem COMMAND --help lists flags"};
    case ErrorKind::kNotFound:
      return {"not-found", "error", "a file, tensor, model or device does not exist",
              "check its spelling, and that the path is seen from here (a container has paths of its own)"};
    case ErrorKind::kUnreadable:
      return {"unreadable", "error", "the system refused to open, read or write something that is there",
              "check permissions, space on the disk, and whether a pipe was closed"};
    case ErrorKind::kBadFile:
      return {"bad-file", "error", "a file contradicts its format, or itself",
              "it is damaged or incomplete: correct it, or fetch it again"};
    case ErrorKind::kUnsupported:
      return {"unsupported", "error", "it is valid, and this build or machine cannot do it",
              "the hint says what would work; tandem doctor tells what the machine lacks"};
    case ErrorKind::kOutOfMemory:
      return {"out-of-memory", "error", "memory, or pages of the cache, do not suffice",
              "tandem check MODEL tells what is needed; a smaller --max-seq-len needs less, more ranks share it"};
    case ErrorKind::kTimeout:
      return {"timeout", "error", "a wait reached its deadline",
              "tandem doctor looks for what holds a rank up; --timeout sets the deadline"};
    case ErrorKind::kPeerLost:
      return {"peer-lost", "error", "another rank stopped or failed",
              "its own error says why and comes first in the log; tandem doctor looks at its GPU"};
    case ErrorKind::kCancelled:
      return {"cancelled", "error", "it was stopped on request: Ctrl-C, or SIGTERM", "nothing is amiss"};
    case ErrorKind::kInternal:
      return {"internal", "error", "a mistake in Tandem: something that must hold did not",
              "please report it, with the command that led there"};
  }
  return {};
}

const std::vector<Meaning>& meanings() {
  static const std::vector<Meaning> kAll = [] {
    std::vector<Meaning> all;
    for (const FindingRow& row : finding_table()) all.push_back({row.code, "finding", row.title});
    for (int i = 0; i <= static_cast<int>(Reason::kForcedOther); ++i) {
      const auto reason = static_cast<Reason>(i);
      all.push_back({to_string(reason), "reason", title_of(reason), advice(reason)});
    }
    for (const ProbeOutcome outcome :
         {ProbeOutcome::kPassed, ProbeOutcome::kNotTried, ProbeOutcome::kNoAccess, ProbeOutcome::kMapFailed,
          ProbeOutcome::kLost, ProbeOutcome::kCorrupt, ProbeOutcome::kOutOfOrder}) {
      all.push_back({to_string(outcome), "probe", title_of(outcome)});
    }
    all.push_back({"back-end-refused", "check", "the back-end that was named cannot serve, or none can",
                   "tandem doctor --why-not NAME tells what stands in the way"});
    for (int i = 0; i <= static_cast<int>(ErrorKind::kInternal); ++i) {
      all.push_back(meaning_of(static_cast<ErrorKind>(i)));
    }
    for (const CudaCode& code : cuda_codes()) {
      all.push_back({code.name, "cuda", code.title, code.remedy, code.number});
    }
    return all;
  }();
  return kAll;
}

std::vector<Meaning> meanings_of(std::string_view code) {
  std::vector<Meaning> found;
  std::copy_if(meanings().begin(), meanings().end(), std::back_inserter(found), [&](const Meaning& meaning) {
    return meaning.code == code || (meaning.number != 0 && std::to_string(meaning.number) == code);
  });
  return found;
}

std::string guide_rows(const FindingRow& row) {
  std::string text;
  for (const int guide : row.guide) text += format("{}G{}", text.empty() ? "" : ", ", guide);
  return text;
}

std::string joined(const std::vector<std::string_view>& parts) {
  std::string text;
  for (const std::string_view part : parts) text += format("{}{}", text.empty() ? "" : ", ", part);
  return text;
}

std::string lines_of(std::string_view text, std::string_view indent) {
  std::string lines;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    lines += format("{}{}\n", indent, rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return lines;
}

std::string finding_text(const FindingRow& row) {
  std::string text = wrapped("  why:   ", row.cause);
  for (const RemedyStep& step : row.remedy) {
    text +=
        wrapped("  do:    ", step.needs.empty() ? std::string(step.what) : format("{} [{}]", step.what, step.needs));
    for (const std::string& command : commands_of(step.command, {})) text += lines_of(command, "           ");
  }
  text += wrapped("  gain:  ", row.gain);
  if (!row.stops.empty()) text += wrapped("  stops: ", joined(row.stops));
  if (!row.explains.empty()) text += wrapped("  so:    ", joined(row.explains));
  return text + wrapped("  guide: ", guide_rows(row));
}

std::string known_bad_markdown() {
  std::string text =
      "## Drivers that others had trouble with\n\n| driver | kernel | | better | source |\n| --- | --- | --- | --- | "
      "--- |\n";
  for (const KnownBadDriver& bad : kKnownBadDrivers) {
    text += format("| {}*{}{} | {}* | {} | {} | {} |\n", bad.driver, bad.flavour.empty() ? "" : ", ", bad.flavour,
                   bad.kernel, bad.what, bad.instead, bad.source);
  }
  return text + "\n";
}

std::string finding_markdown(const FindingRow& row) {
  std::string text = format("### {}\n\n**{}**: {}.\n\n{}\n\n", row.code, to_string(row.severity), row.title, row.cause);
  for (const RemedyStep& step : row.remedy) {
    text += format("- {}{}\n", step.what, step.needs.empty() ? "" : format(" ({})", step.needs));
    if (!step.command.empty()) {
      text += "\n";
      for (const std::string& command : commands_of(step.command, {})) text += lines_of(command, "      ");
      text += "\n";
    }
  }
  text += format("{}Gain: {}.", text.ends_with("\n\n") ? "" : "\n", row.gain);
  if (!row.stops.empty()) text += format(" Stops or spoils: {}.", joined(row.stops));
  if (!row.explains.empty()) text += format(" Explains: {}.", joined(row.explains));
  return text + format(" Guide: {}.\n\n", guide_rows(row));
}

}  // namespace

std::vector<std::string_view> known_codes() {
  std::vector<std::string_view> codes;
  for (const Meaning& meaning : meanings()) {
    if (std::find(codes.begin(), codes.end(), meaning.code) == codes.end()) codes.push_back(meaning.code);
  }
  return codes;
}

std::optional<std::string> explain_text(std::string_view code) {
  std::string text;
  for (const Meaning& meaning : meanings_of(code)) {
    if (!text.empty()) text += "\n";
    const FindingRow* row = meaning.of == "finding" ? find_row(code) : nullptr;
    const std::string severity = row != nullptr ? format(", {}", to_string(row->severity)) : "";
    const std::string number = meaning.number != 0 ? format(" {}", meaning.number) : "";
    text +=
        wrapped("", format("{} ({}{}{}): {}", meaning.code, described(meaning.of), number, severity, meaning.title));
    if (row != nullptr) text += finding_text(*row);
    if (!meaning.remedy.empty()) text += wrapped("  do:    ", meaning.remedy);
  }
  return text.empty() ? std::nullopt : std::optional(text);
}

std::optional<std::string> explain_json(std::string_view code) {
  Json json = {{"code", code}, {"meanings", Json::array()}};
  for (const Meaning& meaning : meanings_of(code)) {
    Json entry = {{"of", meaning.of}, {"title", meaning.title}};
    if (!meaning.remedy.empty()) entry["advice"] = meaning.remedy;
    if (meaning.number != 0) entry["number"] = meaning.number;
    if (const FindingRow* row = meaning.of == "finding" ? find_row(code) : nullptr) {
      entry["severity"] = to_string(row->severity);
      entry["cause"] = row->cause;
      entry["gain"] = row->gain;
      entry["stops"] = row->stops;
      entry["explains"] = row->explains;
      entry["guide"] = row->guide;
      entry["remedy"] = Json::array();
      for (const RemedyStep& step : row->remedy) {
        entry["remedy"].push_back(
            {{"what", step.what}, {"needs", step.needs}, {"commands", commands_of(step.command, {})}});
      }
    }
    json["meanings"].push_back(std::move(entry));
  }
  if (json["meanings"].empty()) return std::nullopt;
  return json_ascii(json, 2);
}

std::string code_list_text() {
  std::string text, last;
  for (const Meaning& meaning : meanings()) {
    if (meaning.of != last) text += format("{}{}:\n", text.empty() ? "" : "\n", described(meaning.of));
    last = meaning.of;
    text += wrapped(format("  {:<30} ", meaning.code), meaning.title);
  }
  return text;
}

std::string code_list_json() {
  Json json = Json::array();
  for (const Meaning& meaning : meanings()) {
    json.push_back({{"code", meaning.code}, {"of", meaning.of}, {"title", meaning.title}});
  }
  return json_ascii(json, 2);
}

std::string code_list_markdown() {
  std::string text =
      "# Codes\n\nEvery code that Tandem prints; `tandem explain CODE` shows one. Written by `tandem explain "
      "--markdown`\n"
      "from the tables of the program, and compared with it by a test.\n\n## Findings of tandem doctor\n\n"
      "What stops p2p comes first, the graver ones before the others. `ADDRESS` stands for the PCI address, or the "
      "path,\n"
      "that the doctor fills in. A step says in brackets what it needs: root's rights, a restart, the "
      "firmware's\nsetup, the host of a container or virtual machine. Tandem runs none of these commands.\n\n";
  for (const FindingRow& row : finding_table()) text += finding_markdown(row);
  text += known_bad_markdown();
  std::string last = "finding";
  for (const Meaning& meaning : meanings()) {
    if (meaning.of == "finding") continue;
    if (meaning.of != last)
      text += format("{}## {}\n\n| code | |\n| --- | --- |\n", last == "finding" ? "" : "\n", described(meaning.of));
    last = meaning.of;
    const std::string number = meaning.number != 0 ? format("{}: ", meaning.number) : "";
    text += format("| `{}` | {}{}{}{} |\n", meaning.code, number, meaning.title, meaning.remedy.empty() ? "" : ": ",
                   meaning.remedy);
  }
  return text;
}

}  // namespace tandem
