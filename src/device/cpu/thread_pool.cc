#include "device/cpu/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace tandem {
namespace {

// A decode step is a few hundred parallel regions of 5 to 100 us. A worker therefore spins for about as long as the
// gaps between regions before it sleeps; with more threads than cores, spinning would only keep others from running.
constexpr int kSpinPolls = 4000;

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

struct ThreadPool::Shared {
  struct Work {
    std::int64_t count = 0;
    std::int64_t chunk = 0;
    const std::function<void(std::int64_t, std::int64_t)>* body = nullptr;
  };
  Work work;                                             // written before `generation`, read after it
  alignas(64) std::atomic<std::uint32_t> generation{0};  // one more for each region; workers wait on it
  alignas(64) std::atomic<std::uint32_t> pending{0};     // workers still inside the region; the caller waits on it
  std::atomic<bool> stop{false};
  int num_polls = kSpinPolls;
  std::vector<std::exception_ptr> errors;  // one place a thread
  std::vector<std::jthread> threads;

  void run(int index) {
    const std::int64_t begin = std::min(work.count, index * work.chunk);
    const std::int64_t end = std::min(work.count, begin + work.chunk);
    if (begin == end) return;
    try {
      (*work.body)(begin, end);
    } catch (...) {
      errors[static_cast<std::size_t>(index)] = std::current_exception();
    }
  }

  void wait_change(const std::atomic<std::uint32_t>& word, std::uint32_t old) const {
    for (int poll = 0; poll < num_polls; ++poll) {
      if (word.load(std::memory_order_acquire) != old) return;
      pause_cpu();
    }
    word.wait(old, std::memory_order_acquire);
  }

  void worker(int index) {
    for (std::uint32_t seen = 0;;) {
      wait_change(generation, seen);
      ++seen;
      if (stop.load(std::memory_order_relaxed)) return;
      run(index);
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int num_threads) : num_threads_(num_threads), shared_(std::make_unique<Shared>()) {
  TANDEM_CHECK(num_threads >= 1, "num_threads {}", num_threads);
  if (static_cast<unsigned>(num_threads) > std::thread::hardware_concurrency()) shared_->num_polls = 0;
  shared_->errors.resize(static_cast<std::size_t>(num_threads));
  for (int index = 1; index < num_threads; ++index) {
    shared_->threads.emplace_back([shared = shared_.get(), index] { shared->worker(index); });
  }
}

ThreadPool::~ThreadPool() {
  shared_->stop.store(true, std::memory_order_relaxed);
  shared_->generation.fetch_add(1, std::memory_order_release);
  shared_->generation.notify_all();
}

void ThreadPool::parallel_for(std::int64_t count, std::int64_t grain,
                              const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (count <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  if (num_threads_ == 1 || count <= grain) {
    body(0, count);
    return;
  }
  const std::int64_t chunk = std::max(grain, (count + num_threads_ - 1) / num_threads_);
  Shared& shared = *shared_;
  shared.work = {count, chunk, &body};
  shared.pending.store(static_cast<std::uint32_t>(num_threads_ - 1), std::memory_order_relaxed);
  shared.generation.fetch_add(1, std::memory_order_release);
  shared.generation.notify_all();
  shared.run(0);
  for (std::uint32_t left; (left = shared.pending.load(std::memory_order_acquire)) != 0;) {
    shared.wait_change(shared.pending, left);
  }
  for (std::exception_ptr& error : shared.errors) {
    if (error) {
      const std::exception_ptr first = std::exchange(error, nullptr);
      std::fill(shared.errors.begin(), shared.errors.end(), nullptr);
      std::rethrow_exception(first);
    }
  }
}

}  // namespace tandem
