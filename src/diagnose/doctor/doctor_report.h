#pragma once
// What `tandem doctor` prints.

#include <string>
#include <vector>

#include "diagnose/doctor/diagnosis.h"

namespace tandem {

struct ReportStyle {
  bool colour = false;
};

/// For people, in lines of 80 columns at most; but commands, which are to be copied, are not broken.
std::string format_diagnosis(const MachineFacts& facts, const Diagnosis& diagnosis, const ReportStyle& style);
std::string format_why_not(const WhyNot& why, const ReportStyle& style);
std::string format_fix_plan(const std::vector<PlannedStep>& plan);
/// All of it as JSON text, with the facts; `why` may be null.
std::string doctor_json(const MachineFacts& facts, const Diagnosis& diagnosis, const WhyNot* why);

}  // namespace tandem
