#include "base/error.h"
#include "tandem/generator.h"

namespace tandem {

std::string_view to_string(Stage stage) {
  switch (stage) {
    case Stage::kStarted:
      return "started";
    case Stage::kPrefill:
      return "prefill";
    case Stage::kStreaming:
      return "streaming";
  }
  fail(ErrorKind::kInternal, "stage {}", static_cast<int>(stage));
}

std::string_view to_string(EosReason reason) {
  switch (reason) {
    case EosReason::kNone:
      return "none";
    case EosReason::kMaxNewTokens:
      return "max-new-tokens";
    case EosReason::kStopToken:
      return "stop-token";
    case EosReason::kStopString:
      return "stop-string";
    case EosReason::kCancelled:
      return "cancelled";
  }
  fail(ErrorKind::kInternal, "reason {}", static_cast<int>(reason));
}

}  // namespace tandem
