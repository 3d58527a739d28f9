#pragma once
// What is wrong with a machine, why, and what one can do: a function of MachineFacts and of nothing else.

#include <string>
#include <string_view>
#include <vector>

#include "diagnose/doctor/findings.h"
#include "diagnose/machine/machine_facts.h"

namespace tandem {

struct FoundFinding {
  const FindingRow* row;
  std::vector<Observation> seen;
};

struct FoundCause {
  FoundFinding finding;
  Severity severity;                       ///< the row's, or that of its gravest consequence
  std::vector<FoundFinding> consequences;  ///< found as well, and explained by it
};

struct Diagnosis {
  std::vector<FoundCause> causes;  ///< what stops p2p first
  bool healthy() const;            ///< nothing but infos
  const FoundCause* find(std::string_view code) const;
};

Diagnosis diagnose(const MachineFacts& facts);

/// `command` with each subject of `seen` in place of "{}"; where there is none, with the word ADDRESS. Empty: none.
std::vector<std::string> commands_of(std::string_view command, const std::vector<Observation>& seen);

/// A step of the remedies, its command filled in.
struct PlannedStep {
  std::string_view code;  ///< of the finding that it is for
  std::string_view what, needs, gain;
  std::vector<std::string> commands;
};
/// In the order of the findings; what two of them ask for is there once.
std::vector<PlannedStep> fix_plan(const Diagnosis& diagnosis);

/// Why a back-end is not used: a question with its answer each, from the first that must hold to the measured speed.
struct TreeStep {
  enum class Answer { kYes, kNo, kUnknown };
  std::string question;
  Answer answer;
  std::vector<std::string> details;
};
struct WhyNot {
  std::string backend;
  bool serves = false;  ///< it is used for something
  std::vector<TreeStep> steps;
  std::string verdict;                          ///< a sentence, with the reason's code
  std::vector<const FoundCause*> explained_by;  ///< of the diagnosis
};
/// `backend` is "p2p", "nccl" or "native". `diagnosis` must outlive the answer.
WhyNot explain_why_not(const MachineFacts& facts, const Diagnosis& diagnosis, std::string_view backend);

/// "healthy: 4 GPUs", "2 errors, 1 warning; p2p is stopped by iommu-translated"
std::string verdict(const MachineFacts& facts, const Diagnosis& diagnosis);

}  // namespace tandem
