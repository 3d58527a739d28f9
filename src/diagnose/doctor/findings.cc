#include "diagnose/doctor/findings.h"

#include <algorithm>

namespace tandem {

std::string_view to_string(Severity severity) {
  static constexpr std::string_view kNames[] = {"info", "warning", "error"};
  return kNames[static_cast<int>(severity)];
}

std::span<const FindingRow> finding_table() {
  static const std::vector<FindingRow> kTable = [] {
    std::vector<FindingRow> table;
    for (const auto part : {driver_findings, gpu_findings, peer_findings, link_findings, host_findings}) {
      for (FindingRow& row : part()) table.push_back(std::move(row));
    }
    const auto rank = [](const FindingRow& row) {
      const bool stops_p2p = std::find(row.stops.begin(), row.stops.end(), "p2p") != row.stops.end();
      return std::pair(!stops_p2p, -static_cast<int>(row.severity));
    };
    std::stable_sort(table.begin(), table.end(),
                     [&](const FindingRow& a, const FindingRow& b) { return rank(a) < rank(b); });
    return table;
  }();
  return kTable;
}

const FindingRow* find_row(std::string_view code) {
  for (const FindingRow& row : finding_table()) {
    if (row.code == code) return &row;
  }
  return nullptr;
}

}  // namespace tandem
