#pragma once
// The threads of one CPU rank. parallel_for is the only way CPU kernels use more than the calling thread.

#include <cstdint>
#include <functional>
#include <memory>

namespace tandem {

/// Whether so many threads can run at once: only then is polling cheaper than sleeping, for all of them.
bool has_core_each(int num_threads);

/// Called by one thread at a time (the rank's own). The caller works too: a pool of 1 has no thread of its own.
class ThreadPool {
 public:
  /// num_threads >= 1, the caller included. `num_rivals`: threads that work beside these, such as those of other ranks.
  /// Throws kOutOfMemory when the system refuses a thread.
  explicit ThreadPool(int num_threads, int num_rivals = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }
  /// Whether workers poll for a moment before they sleep: where all threads, rivals included, have a core of their own.
  bool polls() const;

  /// Calls body(begin, end) over disjoint ranges that cover [0, count), each at least `grain` long but for the last;
  /// returns when all are done. The ranges are a pure function of (count, grain, num_threads); which thread gets which
  /// is not. An exception of `body` is rethrown here, that of the first range if several throw.
  void parallel_for(std::int64_t count, std::int64_t grain,
                    const std::function<void(std::int64_t begin, std::int64_t end)>& body);

 private:
  struct Shared;
  int num_threads_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace tandem
