// What `tandem tune` prints.
#include <algorithm>

#include "base/format.h"
#include "base/json.h"
#include "base/quote.h"
#include "comm/trust/snapshot_json.h"
#include "diagnose/tune.h"

namespace tandem {
namespace {

std::string size_text(std::int64_t bytes) {
  if (bytes >= 1 << 20 && bytes % (1 << 20) == 0) return format("{} MB", bytes >> 20);
  if (bytes >= 1 << 10 && bytes % (1 << 10) == 0) return format("{} KB", bytes >> 10);
  return format("{} B", bytes);
}

// 0: not measured.
double nccl_time(const MachineSnapshot& profile, const TunedSize& size) {
  const auto call = std::find_if(profile.calls.begin(), profile.calls.end(), [&](const MeasuredCall& c) {
    return c.backend == "nccl" && c.op == size.op && c.bytes == size.bytes;
  });
  return call == profile.calls.end() ? 0 : call->microseconds;
}

}  // namespace

std::string format_tune(const TuneResult& result) {
  std::string text = format("{:<15} {:>8} {:<8} {:<18} {:>6} {:>10} {:>12} {:>10}  {}\n", "operation", "size",
                            "backend", "algorithm", "blocks", "us", "built-in us", "NCCL us", "chosen");
  for (const TunedSize& size : result.sizes) {
    const double nccl = nccl_time(result.profile, size);
    text += format("{:<15} {:>8} {:<8} {:<18} {:>6} {:>10.2f} {:>12.2f} {:>10}  {}\n", to_string(size.op),
                   size_text(size.bytes), size.backend, to_string(size.algorithm), size.blocks, size.microseconds,
                   size.built_in_us, nccl > 0 ? format("{:.2f}", nccl) : "-",
                   size.built_in ? format("built-in, of {}", size.num_candidates + 1)
                                 : format("{:.0f} % faster, of {}", 100 * (size.built_in_us / size.microseconds - 1),
                                          size.num_candidates + 1));
  }
  for (const TunedInbox& inbox : result.profile.tuning.inboxes) {
    text += format("{}: inboxes of {}\n", inbox.backend, size_text(inbox.bytes));
  }
  if (result.sizes.empty()) text += "neither p2p nor native can serve here; tandem check tells why\n";
  text += result.findings.empty() ? "" : format("\nfindings: {}\n", result.findings.size());
  for (const TuneFinding& finding : result.findings) {
    text += format("fail: {}: {}: {}\n", finding.backend, finding.what, finding.error);
  }
  return printable(text);
}

std::string tune_json(const TuneResult& result, std::string_view stored) {
  Json json = {{"stored", stored.empty() ? Json() : Json(stored)},
               {"sizes", Json::array()},
               {"findings", Json::array()},
               {"snapshot", parse_json(snapshot_json(result.profile), "snapshot")}};
  for (const TunedSize& size : result.sizes) {
    const double nccl = nccl_time(result.profile, size);
    json["sizes"].push_back({{"backend", size.backend},
                             {"op", to_string(size.op)},
                             {"bytes", size.bytes},
                             {"algorithm", to_string(size.algorithm)},
                             {"blocks", size.blocks},
                             {"built_in", size.built_in},
                             {"microseconds", size.microseconds},
                             {"built_in_us", size.built_in_us},
                             {"nccl_us", nccl > 0 ? Json(nccl) : Json()},
                             {"candidates", size.num_candidates + 1}});
  }
  for (const TuneFinding& finding : result.findings) {
    json["findings"].push_back({{"backend", finding.backend}, {"what", finding.what}, {"error", finding.error}});
  }
  return json_ascii(json, 2);
}

}  // namespace tandem
