#pragma once
// Which rank a thread works for, and on which device: named in log lines and traces.

#include <array>
#include <string_view>

namespace tandem {

struct ThreadRank {
  int rank = -1;                     ///< -1: none
  std::array<char, 16> device = {};  ///< "cuda:1", ends with a zero
};

/// Of the calling thread.
const ThreadRank& thread_rank();

/// A name of a device that is too long is cut.
ThreadRank make_thread_rank(int rank, std::string_view device);

/// The calling thread works for a rank while this lives.
class ThreadRankScope {
 public:
  explicit ThreadRankScope(const ThreadRank& rank);
  ~ThreadRankScope();
  ThreadRankScope(const ThreadRankScope&) = delete;
  ThreadRankScope& operator=(const ThreadRankScope&) = delete;

 private:
  ThreadRank before_;
};

}  // namespace tandem
