// The only file that compiles spdlog and the body of fmt: 10 s here instead of in every caller.
#define FMT_HEADER_ONLY
#define SPDLOG_FMT_EXTERNAL
#define SPDLOG_HEADER_ONLY
#include "base/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/ringbuffer_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>

#include "base/quote.h"
#include "base/thread_rank.h"

namespace tandem {

std::string vformat(fmt::string_view text, fmt::format_args args) {
  return fmt::vformat(text, args);
}

namespace {

struct LevelCell {
  std::atomic<LogLevel> level{LogLevel::kWarn};
};
constinit std::array<LevelCell, kNumSubsystems> levels;

std::atomic<LogLevel>& level_of(Subsystem subsystem) {
  return levels[static_cast<std::size_t>(subsystem)].level;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

struct Sinks {
  std::shared_ptr<spdlog::sinks::sink> stderr_sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt> recent =
      std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(kRecentLines);

  Sinks() {
    stderr_sink->set_pattern("%Y-%m-%dT%H:%M:%S.%f %L %v");
    recent->set_pattern("%Y-%m-%dT%H:%M:%S.%f %L %v");
  }
};

Sinks& sinks() {
  // Never destroyed: ranks may log while the process exits.
  static Sinks& instance = *new Sinks;
  return instance;
}

}  // namespace

std::string_view to_string(Subsystem subsystem) {
  static constexpr std::string_view kNames[kNumSubsystems] = {"comm", "model", "cli"};
  return kNames[static_cast<int>(subsystem)];
}

void set_log_level(Subsystem subsystem, LogLevel level) {
  level_of(subsystem).store(level);
}

bool log_enabled(Subsystem subsystem, LogLevel level) {
  return level >= level_of(subsystem).load(std::memory_order_relaxed);
}

void vlog(LogLevel level, Subsystem subsystem, fmt::string_view text, fmt::format_args args) {
  const ThreadRank& who = thread_rank();
  std::string line(to_string(subsystem));
  line += who.rank < 0 ? ": " : fmt::format(": [rank {} {}] ", who.rank, who.device.data());
  line += printable(fmt::vformat(text, args));
  const spdlog::details::log_msg message({}, "tandem", spdlog_level(level), line);
  if (log_enabled(subsystem, level)) sinks().stderr_sink->log(message);
  spdlog::details::log_msg kept = message;
  if (line.size() > kRecentLineBytes) kept.payload = spdlog::string_view_t(line.data(), kRecentLineBytes);
  sinks().recent->log(kept);
}

std::vector<std::string> recent_log_lines() {
  std::vector<std::string> lines = sinks().recent->last_formatted();
  for (std::string& line : lines) {
    while (!line.empty() && line.back() == '\n') line.pop_back();
  }
  return lines;
}

}  // namespace tandem
