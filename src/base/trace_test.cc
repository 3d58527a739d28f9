#include "base/trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "base/thread_rank.h"

namespace tandem {
namespace {

constexpr TraceLabel kOuter = {"outer", "test", {"a", "b"}, "who"};
constexpr TraceLabel kInner = {"inner", "test", {"i"}};

struct Written {
  TraceCounts counts;
  Json json;
  /// Of one track, in the order of the file.
  std::vector<Json> spans(int tid) const {
    std::vector<Json> found;
    for (const Json& event : json["traceEvents"]) {
      if (event["ph"] == "X" && event["tid"] == tid) found.push_back(event);
    }
    return found;
  }
};

Written stop_and_read() {
  stop_trace();
  Written written;
  std::string text;
  written.counts = write_trace([&](std::string_view part) { text += part; });
  written.json = parse_json(text, "trace");
  return written;
}

// On a thread of its own: a thread stays on the track of its last rank.
void on_rank(int rank, const std::function<void()>& body) {
  std::thread([&] {
    const ThreadRankScope scope(make_thread_rank(rank, "cpu:" + std::to_string(rank)));
    body();
  }).join();
}

TEST(Trace, SpansNestAndCarryTheirArguments) {
  start_trace();
  on_rank(1, [] {
    const TraceSpan outer(kOuter, 7, -8, 0, "cpu");
    for (int i = 0; i < 3; ++i) const TraceSpan inner(kInner, i);
  });
  const Written written = stop_and_read();
  const std::vector<Json> spans = written.spans(1);
  ASSERT_EQ(spans.size(), 4u);
  EXPECT_EQ(spans[0]["name"], "outer");
  EXPECT_EQ(spans[0]["args"], Json({{"a", 7}, {"b", -8}, {"who", "cpu"}}));
  double end = spans[0]["ts"].get<double>();
  for (int i = 0; i < 3; ++i) {
    const Json& inner = spans[static_cast<std::size_t>(i) + 1];
    EXPECT_EQ(inner["args"], Json({{"i", i}}));
    EXPECT_GE(inner["ts"].get<double>(), end);
    end = inner["ts"].get<double>() + inner["dur"].get<double>();
  }
  EXPECT_LE(end, spans[0]["ts"].get<double>() + spans[0]["dur"].get<double>() + 1e-6);
  bool named = false;
  for (const Json& event : written.json["traceEvents"]) {
    named = named || (event["name"] == "thread_name" && event["args"]["name"] == "rank 1 (cpu:1)");
  }
  EXPECT_TRUE(named);
}

TEST(Trace, RecordsOnlyBetweenStartAndStop) {
  on_rank(0, [] { const TraceSpan span(kInner, 1); });
  start_trace();
  on_rank(0, [] { const TraceSpan span(kInner, 2); });
  stop_trace();
  on_rank(0, [] { const TraceSpan span(kInner, 3); });
  const std::vector<Json> spans = stop_and_read().spans(0);
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0]["args"]["i"], 2);
  start_trace();
  EXPECT_EQ(stop_and_read().counts.spans, 0u);
}

TEST(Trace, KeepsTheNewestSpansAndSaysHowManyItDropped) {
  start_trace(8);
  on_rank(0, [] {
    for (int i = 0; i < 20; ++i) const TraceSpan span(kInner, i);
  });
  const Written written = stop_and_read();
  EXPECT_EQ(written.counts.spans, 8u);
  EXPECT_EQ(written.counts.dropped, 12u);
  EXPECT_EQ(written.json["otherData"]["dropped_spans"], 12);
  const std::vector<Json> spans = written.spans(0);
  ASSERT_EQ(spans.size(), 9u);
  EXPECT_EQ(spans[0]["args"], Json({{"spans", 12}}));
  EXPECT_EQ(spans[1]["args"]["i"], 12);
  EXPECT_EQ(spans[8]["args"]["i"], 19);
}

TEST(Trace, LaterThreadsOfARankTakeTheBufferOfEarlierOnes) {
  start_trace(16);
  for (std::size_t i = 0; i < 2 * kMaxTraceThreads; ++i) {
    on_rank(5, [] { const TraceSpan span(kInner); });
  }
  const Written written = stop_and_read();
  EXPECT_EQ(written.counts.spans, 16u);
  EXPECT_EQ(written.counts.dropped, 2 * kMaxTraceThreads - 16);
}

TEST(Trace, AThreadThatServedARankStaysOnItsTrack) {
  start_trace();
  std::thread([] {
    {
      const ThreadRankScope scope(make_thread_rank(9, "cpu:9"));
      const TraceSpan span(kOuter);
    }
    const TraceSpan span(kInner);
  }).join();
  EXPECT_EQ(stop_and_read().spans(9).size(), 2u);
}

// Last: it uses up the buffers.
TEST(TraceLimits, ThreadsThatAreTooManyAreCounted) {
  start_trace(4);
  for (std::size_t rank = 0; rank < kMaxTraceThreads + 3; ++rank) {
    on_rank(static_cast<int>(100 + rank), [] { const TraceSpan span(kInner); });
  }
  const Written written = stop_and_read();
  EXPECT_GE(written.counts.dropped, 3u);
  EXPECT_EQ(written.counts.spans + written.counts.dropped, kMaxTraceThreads + 3);
}

}  // namespace
}  // namespace tandem
