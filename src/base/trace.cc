#include "base/trace.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/format.h"
#include "base/thread_rank.h"
#include "tandem/version.h"

namespace tandem {
namespace {

struct Span {
  const TraceLabel* label;
  const char* text;
  std::int64_t begin_ns;
  std::int64_t end_ns;
  std::array<std::int64_t, 3> arguments;
};

}  // namespace

/// The spans of one thread; of a later thread of the same rank too, so that memory stays bounded where teams come and
/// go.
struct TraceBuffer {
  ThreadRank owner;
  bool taken = true;             // by a thread; guarded by Recorder::mutex
  std::unique_ptr<Span[]> ring;  // its pages are the system's until spans are written to them
  std::size_t capacity = 0;
  std::uint64_t count = 0;  // ever written
};

namespace {

struct Recorder {
  std::mutex mutex;
  std::vector<std::unique_ptr<TraceBuffer>> buffers;
  std::size_t capacity = 0;
  std::int64_t start_ns = 0;
  std::atomic<std::uint64_t> lost{0};  // spans of threads without a buffer
};

Recorder& recorder() {
  static Recorder& instance = *new Recorder;  // never destroyed: threads may end after main
  return instance;
}

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

// A ring that cannot be had is one of no spans: tracing must not end the run.
void clear(TraceBuffer& buffer, std::size_t capacity) {
  buffer.count = 0;
  if (buffer.capacity == capacity) return;
  buffer.ring.reset(new (std::nothrow) Span[capacity]);
  buffer.capacity = buffer.ring ? capacity : 0;
}

TraceBuffer* take_buffer(const ThreadRank& owner) noexcept {
  Recorder& all = recorder();
  const std::lock_guard lock(all.mutex);
  for (const auto& buffer : all.buffers) {
    if (buffer->taken || buffer->owner.rank != owner.rank || buffer->owner.device != owner.device) continue;
    buffer->taken = true;
    return buffer.get();
  }
  if (all.buffers.size() >= kMaxTraceThreads) return nullptr;
  try {
    auto fresh = std::make_unique<TraceBuffer>();
    fresh->owner = owner;
    clear(*fresh, all.capacity);
    return all.buffers.emplace_back(std::move(fresh)).get();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void give_back(TraceBuffer* buffer) noexcept {
  if (buffer == nullptr) return;
  const std::lock_guard lock(recorder().mutex);
  buffer->taken = false;
}

struct ThreadBuffer {
  TraceBuffer* buffer = nullptr;
  bool refused = false;
  ~ThreadBuffer() { give_back(buffer); }
};
thread_local ThreadBuffer mine;

// A thread stays on the track of the rank it last worked for: what rank 0's thread does between two steps is on it.
TraceBuffer* my_buffer() noexcept {
  const ThreadRank& now = thread_rank();
  const bool fits = mine.buffer != nullptr &&
                    (now.rank < 0 || (mine.buffer->owner.rank == now.rank && mine.buffer->owner.device == now.device));
  if (fits) return mine.buffer;
  if (mine.refused) return nullptr;
  give_back(mine.buffer);
  mine.buffer = take_buffer(now);
  mine.refused = mine.buffer == nullptr;
  return mine.buffer;
}

// Names are our own words, and need no escapes.
void append_span(std::string& text, const Span& span, int pid, int tid, std::int64_t start_ns) {
  const auto micros = [](std::int64_t ns) { return format("{}.{:03}", ns / 1000, ns % 1000); };
  text += format(R"({{"ph":"X","pid":{},"tid":{},"name":"{}","cat":"{}","ts":{},"dur":{},"args":{{)", pid, tid,
                 span.label->name, span.label->category, micros(span.begin_ns - start_ns),
                 micros(span.end_ns - span.begin_ns));
  const char* comma = "";
  for (std::size_t i = 0; i < span.arguments.size() && span.label->arguments[i] != nullptr; ++i) {
    text += format(R"({}"{}":{})", std::exchange(comma, ","), span.label->arguments[i], span.arguments[i]);
  }
  if (span.text != nullptr) text += format(R"({}"{}":"{}")", comma, span.label->text, span.text);
  text += "}},\n";
}

}  // namespace

void TraceSpan::begin(const TraceLabel& label, std::int64_t a, std::int64_t b, std::int64_t c,
                      const char* text) noexcept {
  label_ = &label;
  text_ = text;
  arguments_ = {a, b, c};
  begin_ns_ = now_ns();
}

void TraceSpan::end() noexcept {
  const std::int64_t end_ns = now_ns();
  if (!tracing()) return;
  TraceBuffer* const buffer = my_buffer();
  if (buffer == nullptr || buffer->capacity == 0) {
    recorder().lost.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  buffer->ring[buffer->count++ % buffer->capacity] = {label_, text_, begin_ns_, end_ns, arguments_};
}

void start_trace(std::size_t spans_per_thread) {
  Recorder& all = recorder();
  const std::lock_guard lock(all.mutex);
  all.capacity = spans_per_thread;
  all.start_ns = now_ns();
  all.lost = 0;
  for (const auto& buffer : all.buffers) clear(*buffer, spans_per_thread);
  trace_detail::recording.store(true);
}

void stop_trace() {
  trace_detail::recording.store(false);
}

TraceCounts write_trace(const std::function<void(std::string_view)>& sink) {
  Recorder& all = recorder();
  const std::lock_guard lock(all.mutex);
  const int pid = static_cast<int>(::getpid());
  TraceCounts counts{.dropped = all.lost.load()};
  std::string text = "{\"displayTimeUnit\":\"ms\",\n\"traceEvents\":[\n";
  int others = 0;
  for (const auto& buffer : all.buffers) {
    if (buffer->count == 0) continue;
    const bool is_rank = buffer->owner.rank >= 0;
    const int tid = is_rank ? buffer->owner.rank : 1000 + others++;  // behind all ranks
    const std::string name =
        is_rank ? format("rank {} ({})", buffer->owner.rank, buffer->owner.device.data()) : "no rank";
    text += format(R"({{"ph":"M","pid":{0},"tid":{1},"name":"thread_name","args":{{"name":"{2}"}}}},
{{"ph":"M","pid":{0},"tid":{1},"name":"thread_sort_index","args":{{"sort_index":{1}}}}},
)",
                   pid, tid, name);
    const std::uint64_t kept = std::min<std::uint64_t>(buffer->count, buffer->capacity);
    const std::uint64_t dropped = buffer->count - kept;
    counts.spans += kept;
    counts.dropped += dropped;
    // Parents before their children, as readers want it; a span is recorded when it ends.
    std::vector<std::uint32_t> order(kept);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      const Span &x = buffer->ring[a], &y = buffer->ring[b];
      return x.begin_ns != y.begin_ns ? x.begin_ns < y.begin_ns : x.end_ns > y.end_ns;
    });
    if (dropped > 0) {
      static constexpr TraceLabel kDropped = {"older spans were dropped", "trace", {"spans"}};
      const std::int64_t at = buffer->ring[order[0]].begin_ns;
      append_span(text, {&kDropped, nullptr, at, at, {static_cast<std::int64_t>(dropped)}}, pid, tid, all.start_ns);
    }
    for (const std::uint32_t index : order) {
      append_span(text, buffer->ring[index], pid, tid, all.start_ns);
      if (text.size() < std::size_t{1} << 16) continue;
      sink(text);
      text.clear();
    }
  }
  text += format(R"({{"ph":"M","pid":{},"name":"process_name","args":{{"name":"tandem"}}}}
],
"otherData":{{"program":"tandem {}","commit":"{}","spans":{},"dropped_spans":{},"most_spans_per_thread":{}}}}}
)",
                 pid, version(), commit(), counts.spans, counts.dropped, all.capacity);
  sink(text);
  return counts;
}

}  // namespace tandem
