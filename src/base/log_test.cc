#include "base/log.h"

#include <gtest/gtest.h>

#include "base/thread_rank.h"

namespace tandem {
namespace {

TEST(Log, KeepsDebugLinesThatAreNotPrinted) {
  set_log_level(Subsystem::kModel, LogLevel::kWarn);
  testing::internal::CaptureStderr();
  log(LogLevel::kDebug, Subsystem::kModel, "step {}", 17);
  log(LogLevel::kTrace, Subsystem::kModel, "too much");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  const std::vector<std::string> lines = recent_log_lines();
  ASSERT_FALSE(lines.empty());
  EXPECT_TRUE(lines.back().ends_with(" D model: step 17")) << lines.back();
}

TEST(Log, NamesRankAndDeviceOfTheThread) {
  testing::internal::CaptureStderr();
  {
    const ThreadRankScope outer(make_thread_rank(2, "cuda:7"));
    const ThreadRankScope inner(make_thread_rank(3, "a name longer than any device's"));
    log(LogLevel::kWarn, Subsystem::kComm, "inside");
  }
  log(LogLevel::kWarn, Subsystem::kComm, "outside");
  const std::string printed = testing::internal::GetCapturedStderr();
  EXPECT_NE(printed.find(" W comm: [rank 3 a name longer t] inside\n"), printed.npos) << printed;
  EXPECT_NE(printed.find(" W comm: outside\n"), printed.npos) << printed;
}

TEST(Log, ForgetsTheOldestLinesAndCutsLongOnes) {
  for (std::size_t i = 0; i < kRecentLines + 5; ++i) log(LogLevel::kDebug, Subsystem::kCli, "line {}", i);
  log(LogLevel::kDebug, Subsystem::kCli, "{}", std::string(10 * kRecentLineBytes, 'x'));
  const std::vector<std::string> lines = recent_log_lines();
  ASSERT_EQ(lines.size(), kRecentLines);
  EXPECT_TRUE(lines.front().ends_with("cli: line 6")) << lines.front();
  EXPECT_LT(lines.back().size(), kRecentLineBytes + 100);
}

}  // namespace
}  // namespace tandem
