#include "comm/call.h"

namespace tandem {

std::string_view to_string(Collective op) {
  static constexpr std::string_view kNames[] = {"all-reduce", "all-gather", "reduce-scatter",
                                                "broadcast",  "gather",     "barrier",
                                                "send",       "recv",       "all-reduce with norm"};
  return kNames[static_cast<int>(op)];
}

Call with_shares(Call call, const Shares& shares) {
  call.ragged = !shares.equal;
  call.count = shares.equal ? shares.count(0) : 0;
  if (call.ragged) call.offsets = shares.offsets;
  return call;
}

std::string describe(const Call& call, int world_size) {
  if (call.op == Collective::kBarrier) return "barrier";
  std::string text = format("{} of {} {}", to_string(call.op), call.count, to_string(call.dtype));
  if (call.ragged) {
    text += " in shares of";
    for (std::size_t r = 0; r < static_cast<std::size_t>(world_size); ++r) {
      text += format("{} {}", r > 0 ? "," : "", call.offsets[r + 1] - call.offsets[r]);
    }
  }
  if (call.columns > 0) text += format(", rows of {}", call.columns);
  if (call.op == Collective::kSend) return text + format(" to rank {}", call.root);
  if (call.op == Collective::kRecv) return text + format(" from rank {}", call.root);
  if (call.root >= 0) text += format(", root {}", call.root);
  return text;
}

}  // namespace tandem
