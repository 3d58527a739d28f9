#include "base/thread_rank.h"

#include <algorithm>

namespace tandem {
namespace {

constinit thread_local ThreadRank current;

}  // namespace

const ThreadRank& thread_rank() {
  return current;
}

ThreadRank make_thread_rank(int rank, std::string_view device) {
  ThreadRank made{.rank = rank};
  std::copy_n(device.begin(), std::min(device.size(), made.device.size() - 1), made.device.begin());
  return made;
}

ThreadRankScope::ThreadRankScope(const ThreadRank& rank) : before_(current) {
  current = rank;
}

ThreadRankScope::~ThreadRankScope() {
  current = before_;
}

}  // namespace tandem
