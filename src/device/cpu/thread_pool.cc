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
    const std::function<void(std::int64_t, std::int64_t)>* body = nullptr;
  };
  // A region is over when its chunks are done, whoever has done them: on a busy machine a worker may wake late, and
  // finds nothing left, or the next region. So a chunk is taken by one addition to `ticket`, which says how many there
  // are as well; only who has taken one reads `work`, which stays as it is until all are done.
  Work work;
  static constexpr int kTicketBits = 32;
  alignas(64) std::atomic<std::uint64_t> ticket{0};       // chunks of the region << 32 | chunks taken, or tried to
  alignas(64) std::atomic<std::uint32_t> chunks_done{0};  // the caller waits on it
  alignas(64) std::atomic<std::uint32_t> generation{0};   // one more for each region; workers wait on it
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
    while (true) {
      const std::uint64_t taken = ticket.fetch_add(1, std::memory_order_acq_rel);
      const auto chunk = static_cast<std::int64_t>(taken & ((std::uint64_t{1} << kTicketBits) - 1));
      const auto num_chunks = static_cast<std::int64_t>(taken >> kTicketBits);
      if (chunk >= num_chunks) return;
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
      if (chunks_done.fetch_add(1, std::memory_order_acq_rel) + 1 == num_chunks) chunks_done.notify_one();
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
      seen = generation.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_relaxed)) return;
      run();
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
  const auto num_chunks = static_cast<std::uint32_t>((count + chunk - 1) / chunk);
  shared.work = {count, chunk, &body};
  shared.chunks_done.store(0, std::memory_order_relaxed);
  shared.ticket.store(std::uint64_t{num_chunks} << Shared::kTicketBits, std::memory_order_release);
  shared.generation.fetch_add(1, std::memory_order_release);
  shared.generation.notify_all();
  shared.run();
  for (std::uint32_t done; (done = shared.chunks_done.load(std::memory_order_acquire)) != num_chunks;) {
    shared.wait_change(shared.chunks_done, done);
  }
  if (shared.error) std::rethrow_exception(std::exchange(shared.error, nullptr));
}

}  // namespace tandem
