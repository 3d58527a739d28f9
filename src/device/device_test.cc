#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>
#include <vector>

#include "base/error.h"
#include "device/buffer.h"
#include "device/cpu/thread_pool.h"
#include "device/stream.h"

namespace tandem {
namespace {

TEST(ThreadPool, CoversEveryIndexOnceForAnyThreadCount) {
  for (int num_threads : {1, 2, 3, 5, 8}) {
    const Stream stream = Stream::cpu(num_threads);
    for (std::int64_t count : {0, 1, 2, 7, 64, 1000}) {
      for (std::int64_t grain : {1, 3, 64}) {
        std::vector<int> hits(static_cast<std::size_t>(count), 0);
        stream.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) ++hits[static_cast<std::size_t>(i)];
        });
        for (int hit : hits) ASSERT_EQ(hit, 1) << num_threads << " threads, count " << count << ", grain " << grain;
      }
    }
  }
}

TEST(ThreadPool, ManyRegionsInARowLoseNoWork) {
  const Stream stream = Stream::cpu(4);
  std::atomic<std::int64_t> sum{0};
  for (int region = 0; region < 5000; ++region) {
    stream.parallel_for(4, 1, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
  }
  EXPECT_EQ(sum.load(), 20000);
}

TEST(ThreadPool, WaitsForTheSlowestRange) {
  const Stream stream = Stream::cpu(3);
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> done{0};
    stream.parallel_for(12, 1, [&](std::int64_t begin, std::int64_t end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(begin % 3));
      done += static_cast<int>(end - begin);
    });
    ASSERT_EQ(done.load(), 12);
  }
}

// While it lives, the process has room for the stacks of three more threads.
class RoomForThreeThreads {
 public:
  RoomForThreeThreads() {
    pthread_getattr_default_np(&default_attributes_);
    pthread_attr_t large = default_attributes_;
    pthread_attr_setstacksize(&large, kStackBytes);
    pthread_setattr_default_np(&large);
    getrlimit(RLIMIT_AS, &default_limit_);
    std::size_t pages_in_use = 0;
    std::ifstream("/proc/self/statm") >> pages_in_use;
    const rlimit limit{pages_in_use * static_cast<std::size_t>(getpagesize()) + kStackBytes * 7 / 2,
                       default_limit_.rlim_max};
    setrlimit(RLIMIT_AS, &limit);
  }
  ~RoomForThreeThreads() {
    setrlimit(RLIMIT_AS, &default_limit_);
    pthread_setattr_default_np(&default_attributes_);
  }

 private:
  static constexpr std::size_t kStackBytes = std::size_t{256} << 20;
  pthread_attr_t default_attributes_{};
  rlimit default_limit_{};
};

TEST(ThreadPool, SaysWhichThreadCannotBeStarted) {
  const RoomForThreeThreads room;
  try {
    const Stream stream = Stream::cpu(8);
    FAIL() << "room for all of them";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
    EXPECT_TRUE(std::string(error.what()).starts_with("cannot start thread 5 of 8: ")) << error.what();
    EXPECT_NE(error.hint().find("threads"), std::string::npos);
  }
}

TEST(ThreadPool, PollsOnlyWhereAllThreadsHaveACore) {
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  EXPECT_TRUE(has_core_each(cores));
  EXPECT_FALSE(has_core_each(cores + 1));
  EXPECT_TRUE(ThreadPool(1).polls());
  EXPECT_FALSE(ThreadPool(cores + 1).polls());
  EXPECT_FALSE(ThreadPool(1, cores).polls());  // alone it has one, the other ranks' threads take it
}

TEST(ThreadPool, RethrowsAndStaysUsable) {
  constexpr int kThreads = 3;
  const Stream stream = Stream::cpu(kThreads);
  for (int round = 0; round < 20; ++round) {
    // The first three ranges meet, so each has a thread of its own. They fail in the order 2, 1, 0.
    std::atomic<int> met{0};
    std::atomic<std::int64_t> next_to_fail{kThreads - 1};
    try {
      stream.parallel_for(kThreads, 1, [&](std::int64_t begin, std::int64_t end) {
        ASSERT_EQ(end, begin + 1);
        for (++met; met.load() < kThreads;) std::this_thread::yield();
        while (next_to_fail.load() != begin) std::this_thread::yield();
        --next_to_fail;
        fail(ErrorKind::kInternal, "range {}", begin);
      });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "range 0");
    }
    std::atomic<std::int64_t> sum{0};
    stream.parallel_for(100, 1, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
    EXPECT_EQ(sum.load(), 100);
  }
}

TEST(Tensor, SlicesRowsOfQuantisedMatrices) {
  const OwnedTensor owned(Device{}, DType::kQ4_1, {4, 64});
  const Tensor rows = owned.tensor.slice(1, 3);
  EXPECT_EQ(rows.shape(), (Shape{2, 64}));
  EXPECT_EQ(static_cast<std::byte*>(rows.raw()) - static_cast<std::byte*>(owned.tensor.raw()), 40);
  EXPECT_THROW(owned.tensor.slice(1, 5), Error);
  EXPECT_THROW(owned.tensor.data<float>(), Error);
}

TEST(Buffer, NamesDeviceAndBytesWhenMemoryIsShort) {
  try {
    const Buffer buffer(Device{DeviceKind::kCpu, 3}, std::size_t{1} << 60);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
    EXPECT_NE(std::string(error.what()).find("cpu:3"), std::string::npos);
  }
}

}  // namespace
}  // namespace tandem
