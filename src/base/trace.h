#pragma once
// What each rank did when, for ui.perfetto.dev and chrome://tracing: spans with a static name and a few integers,
// recorded by the thread they are about. While nothing records, a span costs one look at a flag. A thread takes no lock
// but at its first span, and keeps its last kTraceSpansPerThread spans; which is said in the trace where it drops some.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace tandem {

/// What spans of one sort are called. Must live as long as the program.
struct TraceLabel {
  const char* name;
  const char* category;
  std::array<const char*, 3> arguments = {};  ///< names of the integers; from the first nullptr on unused
  const char* text = nullptr;                 ///< name of the text, if there is one
};

struct TraceBuffer;

inline constexpr std::size_t kTraceSpansPerThread = std::size_t{1} << 17;  ///< 7 MiB
inline constexpr std::size_t kMaxTraceThreads = 64;                        ///< further ones are not recorded

namespace trace_detail {
inline constinit std::atomic<bool> recording{false};
}

inline bool tracing() {
  return trace_detail::recording.load(std::memory_order_relaxed);
}

/// From its construction to its end, by an exception too. Spans of one thread nest as scopes do.
class TraceSpan {
 public:
  /// Nothing.
  TraceSpan() = default;
  /// `text` must live as long as the program.
  explicit TraceSpan(const TraceLabel& label, std::int64_t a = 0, std::int64_t b = 0, std::int64_t c = 0,
                     const char* text = nullptr) {
    if (tracing()) [[unlikely]]
      begin(label, a, b, c, text);
  }
  ~TraceSpan() {
    if (label_ != nullptr) [[unlikely]]
      end();
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  void begin(const TraceLabel& label, std::int64_t a, std::int64_t b, std::int64_t c, const char* text) noexcept;
  void end() noexcept;

  const TraceLabel* label_ = nullptr;
  const char* text_;  // these only where there is a label
  std::int64_t begin_ns_;
  std::array<std::int64_t, 3> arguments_;
};

struct TraceCounts {
  std::uint64_t spans = 0;
  std::uint64_t dropped = 0;  ///< the oldest of threads that had too many, all of threads that were too many
};

/// Records from now on; what was recorded before is forgotten. While no thread is in a span, as for the others.
void start_trace(std::size_t spans_per_thread = kTraceSpansPerThread);
void stop_trace();
/// What was recorded, as JSON of the trace event format, piece by piece. One track a rank.
TraceCounts write_trace(const std::function<void(std::string_view)>& sink);

}  // namespace tandem
