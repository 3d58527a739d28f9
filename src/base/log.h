#pragma once
// Logging: `log(LogLevel::kInfo, Subsystem::kComm, "chose {}", name)`. Written to stderr with time, level and
// subsystem. Thread-safe. Set levels before starting threads. Never on a hot path unless log_enabled() says so first.

#include <string_view>

#include "base/format.h"

namespace tandem {

enum class LogLevel { kTrace, kDebug, kInfo, kWarn, kError, kOff };

enum class Subsystem { kComm, kModel, kCli };
inline constexpr int kNumSubsystems = 3;

/// Name as used in settings, e.g. "comm".
std::string_view to_string(Subsystem subsystem);

/// Default for every subsystem: kWarn.
void set_log_level(Subsystem subsystem, LogLevel level);
bool log_enabled(Subsystem subsystem, LogLevel level);
void vlog(LogLevel level, Subsystem subsystem, fmt::string_view text, fmt::format_args args);

template <class... A>
void log(LogLevel level, Subsystem subsystem, fmt::format_string<A...> text, A&&... args) {
  if (log_enabled(subsystem, level)) vlog(level, subsystem, text, fmt::make_format_args(args...));
}

}  // namespace tandem
