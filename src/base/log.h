#pragma once
// Logging: `log(LogLevel::kInfo, Subsystem::kComm, "chose {}", name)`. Written to stderr with time, level, subsystem
// and the rank and device of the thread, where it has them. The last lines down to kDebug are kept, printed or not, for
// when the program fails. Thread-safe. Set levels before starting threads. On a hot path only kTrace, which costs
// nothing where it is off.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

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
  if (level >= LogLevel::kDebug || log_enabled(subsystem, level)) {
    vlog(level, subsystem, text, fmt::make_format_args(args...));
  }
}

inline constexpr std::size_t kRecentLines = 128;
inline constexpr std::size_t kRecentLineBytes = 1000;  ///< of a message; what is longer is cut

/// The last lines, the oldest first, without line breaks at their ends: all that were printed, and those of kDebug and
/// above that were not.
std::vector<std::string> recent_log_lines();

}  // namespace tandem
