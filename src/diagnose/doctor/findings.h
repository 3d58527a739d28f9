#pragma once
// What can be wrong with a machine of several GPUs: one table, a row a finding. A new finding is a new row, and a test
// that changes one thing of a healthy machine.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diagnose/machine/machine_facts.h"

namespace tandem {

enum class Severity {
  kInfo,     ///< good to know; the machine is healthy
  kWarning,  ///< costs speed, or will bite
  kError,    ///< something does not work, or gives wrong results
};
/// "info", "warning", "error"
std::string_view to_string(Severity severity);

/// One thing that was seen.
struct Observation {
  std::string text;          ///< the file or the call, and its value
  std::string subject = {};  ///< what "{}" stands for in the commands of the remedy: a PCI address, a path
};

/// What someone may do. Tandem runs none of it.
struct RemedyStep {
  std::string_view what;          ///< a sentence without its full stop
  std::string_view command = {};  ///< as typed, lines of a shell or of a file; with "{}": once for each subject
  std::string_view needs = {};    ///< of kNeeds, separated by ", "
};
/// What a step may need: root's rights, a restart, the firmware's setup, the host of a container or of a virtual
/// machine, somebody at the machine, something to buy.
inline constexpr std::string_view kNeeds[] = {"root", "reboot", "firmware", "host", "by hand", "hardware"};

struct FindingRow {
  std::string_view code;  ///< stable, in kebab-case
  Severity severity;
  std::string_view title;
  std::vector<std::string_view> stops = {};  ///< back-ends that it stops, or spoils
  /// What of the machine shows it, an observation for each device or pair; none: the finding does not apply.
  std::vector<Observation> (*find)(const MachineFacts& facts);
  std::string_view cause;
  std::vector<RemedyStep> remedy = {};
  std::string_view gain;                        ///< of the remedy
  std::vector<int> guide = {};                  ///< rows of the guide that it serves: 12 is G12
  std::vector<std::string_view> explains = {};  ///< findings that follow from it, and are told as such
};

/// Those that stop p2p first, the graver ones first.
std::span<const FindingRow> finding_table();
/// nullptr: there is none.
const FindingRow* find_row(std::string_view code);

/// Parts of the table, by what they are about.
std::vector<FindingRow> driver_findings();
std::vector<FindingRow> host_findings();
std::vector<FindingRow> gpu_findings();
std::vector<FindingRow> peer_findings();
std::vector<FindingRow> link_findings();

}  // namespace tandem
