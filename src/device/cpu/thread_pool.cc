#include "device/cpu/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "device/cpu/start_thread.h"

namespace tandem {
namespace {

// Threads take the next chunk when they are done with one, so a thread that the system holds up holds up one chunk
// only. Four a thread even that out; more would cost more than they gain on regions of 20 us.
constexpr std::int64_t kChunksPerThread = 4;

// A decode step is a few hundred parallel regions of 5 to 100 us. A worker therefore spins for about as long as the
// gaps between regions before it sleeps; with more threads than cores, spinning would only keep others from running.
constexpr int kSpinPolls = 4000;

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

bool has_core_each(int num_threads) {
  return static_cast<unsigned>(num_threads) <= std::thread::hardware_concurrency();
}

struct ThreadPool::Shared {
  struct Work {
    std::int64_t count = 0;
    std::int64_t chunk = 0;
    std::int64_t num_chunks = 0;
    const std::function<void(std::int64_t, std::int64_t)>* body = nullptr;
  };
  Work work;                                             // written before `generation`, read after it
  alignas(64) std::atomic<std::uint32_t> generation{0};  // one more for each region; workers wait on it
  alignas(64) std::atomic<std::uint32_t> pending{0};     // workers still inside the region; the caller waits on it
  alignas(64) std::atomic<std::int64_t> next_chunk{0};
  std::atomic<bool> stop{false};
  int num_polls = 0;
  std::mutex error_mutex;
  std::exception_ptr error;  // of the first chunk that failed
  std::int64_t error_chunk = 0;
  std::vector<std::jthread> threads;  // last: joined before what they use is gone

  ~Shared() {
    stop.store(true, std::memory_order_relaxed);
    generation.fetch_add(1, std::memory_order_release);
    generation.notify_all();
  }

  void run() {
    for (std::int64_t chunk; (chunk = next_chunk.fetch_add(1, std::memory_order_relaxed)) < work.num_chunks;) {
      const std::int64_t begin = chunk * work.chunk;
      try {
        (*work.body)(begin, std::min(work.count, begin + work.chunk));
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (!error || chunk < error_chunk) {
          error = std::current_exception();
          error_chunk = chunk;
        }
      }
    }
  }

  void wait_change(const std::atomic<std::uint32_t>& word, std::uint32_t old) const {
    for (int poll = 0; poll < num_polls; ++poll) {
      if (word.load(std::memory_order_acquire) != old) return;
      pause_cpu();
    }
    word.wait(old, std::memory_order_acquire);
  }

  void worker() {
    for (std::uint32_t seen = 0;;) {
      wait_change(generation, seen);
      ++seen;
      if (stop.load(std::memory_order_relaxed)) return;
      run();
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int num_threads, int num_rivals)
    : num_threads_(num_threads), shared_(std::make_unique<Shared>()) {
  TANDEM_CHECK(num_threads >= 1 && num_rivals >= 0, "num_threads {}, num_rivals {}", num_threads, num_rivals);
  if (has_core_each(num_threads + num_rivals)) shared_->num_polls = kSpinPolls;
  shared_->threads.reserve(static_cast<std::size_t>(num_threads - 1));
  for (int index = 1; index < num_threads; ++index) {
    shared_->threads.push_back(start_thread(format("thread {} of {}", index + 1, num_threads),
                                            [shared = shared_.get()] { shared->worker(); }));
  }
}

ThreadPool::~ThreadPool() = default;

bool ThreadPool::polls() const {
  return shared_->num_polls > 0;
}

void ThreadPool::parallel_for(std::int64_t count, std::int64_t grain,
                              const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (count <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  if (num_threads_ == 1 || count <= grain) {
    body(0, count);
    return;
  }
  const std::int64_t pieces = num_threads_ * kChunksPerThread;
  const std::int64_t chunk = std::max(grain, (count + pieces - 1) / pieces);
  Shared& shared = *shared_;
  shared.work = {count, chunk, (count + chunk - 1) / chunk, &body};
  shared.next_chunk.store(0, std::memory_order_relaxed);
  shared.pending.store(static_cast<std::uint32_t>(num_threads_ - 1), std::memory_order_relaxed);
  shared.generation.fetch_add(1, std::memory_order_release);
  shared.generation.notify_all();
  shared.run();
  for (std::uint32_t left; (left = shared.pending.load(std::memory_order_acquire)) != 0;) {
    shared.wait_change(shared.pending, left);
  }
  if (shared.error) std::rethrow_exception(std::exchange(shared.error, nullptr));
}

}  // namespace tandem
