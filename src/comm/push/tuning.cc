#include "comm/push/tuning.h"

#include <algorithm>
#include <iterator>

namespace tandem {

std::string_view to_string(TunedAlgorithm algorithm) {
  static constexpr std::string_view kNames[] = {"built-in",          "one-shot-tagged", "one-shot-sentinel",
                                                "two-shot-sentinel", "ring-tagged",     "ring-bulk"};
  return kNames[static_cast<int>(algorithm)];
}

std::vector<TunedCalls> Tuning::calls_of(std::string_view backend) const {
  std::vector<TunedCalls> rows;
  std::copy_if(calls.begin(), calls.end(), std::back_inserter(rows),
               [&](const TunedCalls& row) { return row.backend == backend; });
  std::stable_sort(rows.begin(), rows.end(),
                   [](const TunedCalls& a, const TunedCalls& b) { return a.up_to_bytes < b.up_to_bytes; });
  return rows;
}

std::int64_t Tuning::inbox_of(std::string_view backend) const {
  const auto inbox =
      std::find_if(inboxes.begin(), inboxes.end(), [&](const TunedInbox& i) { return i.backend == backend; });
  return inbox == inboxes.end() ? 0 : inbox->bytes;
}

}  // namespace tandem
