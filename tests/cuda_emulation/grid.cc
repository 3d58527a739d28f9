#include "grid.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "memory_rights.h"

thread_local uint3 threadIdx, blockIdx;
thread_local dim3 blockDim, gridDim;

namespace tandem::emulation {
namespace {

using boost::context::fiber;

constexpr unsigned kLanes = 32;
constexpr std::size_t kStackBytes = 128 * 1024;

enum class State { kReady, kPolling, kAtWarp, kAtBarrier, kEnded };

struct Copy {
  void* to;
  const void* from;
};

struct Thread {
  unsigned index = 0;
  uint3 place;  // threadIdx
  State state = State::kEnded;
  unsigned generation = 0;  // of what it waits at
  std::vector<Copy> copies;
  fiber own, scheduler;
};

struct Warp {
  unsigned exists = 0, live = 0;  // lanes
  unsigned generation = 0, arrived = 0, mask = 0;
  WarpFunction function{};
  std::array<std::array<std::byte, kLanes * kExchangeBytes>, 2> values;
};

struct Barrier {
  unsigned generation = 0, arrived = 0;
  Votes votes{true, false};        // of those who have arrived
  std::array<Votes, 2> results{};  // by generation
};

/// A grid that is being run.
struct Run {
  const GridShape& shape;
  const std::function<void()>& body;
  unsigned num_blocks;
  std::atomic<unsigned> next_block{0};
  std::atomic<int> helpers{0};
};

void ask_for_help(Run& run);

/// Runs blocks on the calling host thread, one at a time. Lives as long as its host thread, that is for ever: its
/// fibers wait for the next block.
class Executor {
 public:
  void work(Run& run) {
    run_ = &run;
    for (unsigned block = run.next_block++; block < run.num_blocks; block = run.next_block++) run_block(block);
  }

  Thread& current() {
    if (current_ == nullptr) fail("a function of kernels is called outside of one");
    return *current_;
  }
  Warp& warp_of(const Thread& thread) { return warps_[thread.index / kLanes]; }
  Barrier& barrier() { return barrier_; }
  unsigned live() const { return live_; }
  void* dynamic_shared() { return shared_.data(); }

  /// Back to the scheduler, until the thread may go on.
  void leave(Thread& thread, State state, unsigned generation = 0) {
    thread.state = state;
    thread.generation = generation;
    thread.scheduler = std::move(thread.scheduler).resume();
  }

  void release_barrier() {
    barrier_.results[barrier_.generation & 1] = barrier_.votes;
    barrier_.votes = {true, false};
    barrier_.arrived = 0;
    ++barrier_.generation;
  }

 private:
  void run_block(unsigned block) {
    const GridShape& shape = run_->shape;
    const unsigned num_threads = shape.threads.x * shape.threads.y * shape.threads.z;
    while (threads_.size() < num_threads) add_thread();
    shared_.assign((shape.shared_bytes + sizeof(Chunk) - 1) / sizeof(Chunk), Chunk{~0ull, ~0ull});
    warps_.assign((num_threads + kLanes - 1) / kLanes, Warp{});
    barrier_ = {};
    live_ = num_threads;
    blockIdx = place_in(block, shape.blocks);
    blockDim = shape.threads;
    gridDim = shape.blocks;
    for (unsigned i = 0; i < num_threads; ++i) {
      Thread& thread = *threads_[i];
      thread.state = State::kReady;
      thread.copies.clear();
      thread.place = place_in(i, shape.threads);
      warps_[i / kLanes].exists |= 1u << i % kLanes;
    }
    for (Warp& warp : warps_) warp.live = warp.exists;
    bool asked = false;
    for (unsigned idle_rounds = 0; live_ > 0;) {
      bool progress = false, polling = false;
      for (std::size_t w = 0; w < warps_.size(); ++w) progress |= run_warp(w, num_threads, polling);
      if (progress) {
        idle_rounds = 0;
        continue;
      }
      if (!polling) fail("its threads wait for each other at different barriers, or for a thread that has ended");
      if (!asked && run_->next_block < run_->num_blocks) {
        ask_for_help(*run_);
        asked = true;
      }
      if (++idle_rounds < 100) {
        sched_yield();
      } else {
        usleep(50);
      }
    }
  }

  // Until none of its lanes can go on. Whether one has done more than poll.
  bool run_warp(std::size_t w, unsigned num_threads, bool& polling) {
    bool progress = false;
    for (bool again = true; again;) {
      again = false;
      for (std::size_t i = w * kLanes; i < std::min<std::size_t>(num_threads, (w + 1) * kLanes); ++i) {
        Thread& thread = *threads_[i];
        const bool polled = thread.state == State::kPolling;
        if (!may_run(thread) || (polled && again)) continue;
        resume(thread);
        if (thread.state == State::kPolling) polling = true;
        if (polled && thread.state == State::kPolling) continue;
        progress = true;
        again |= thread.state != State::kPolling;
      }
    }
    return progress;
  }

  bool may_run(const Thread& thread) {
    switch (thread.state) {
      case State::kReady:
      case State::kPolling:
        return true;
      case State::kAtWarp:
        return warp_of(thread).generation != thread.generation;
      case State::kAtBarrier:
        return barrier_.generation != thread.generation;
      case State::kEnded:
        break;
    }
    return false;
  }

  void resume(Thread& thread) {
    current_ = &thread;
    threadIdx = thread.place;
    thread.own = std::move(thread.own).resume();
    current_ = nullptr;
    if (thread.state != State::kEnded) return;
    --live_;
    warp_of(thread).live &= ~(1u << thread.index % kLanes);
    if (barrier_.arrived > 0 && barrier_.arrived == live_) release_barrier();
  }

  void add_thread() {
    threads_.push_back(std::make_unique<Thread>());
    Thread* thread = threads_.back().get();
    thread->index = static_cast<unsigned>(threads_.size() - 1);
    thread->own = fiber(std::allocator_arg, boost::context::protected_fixedsize_stack(kStackBytes),
                        [this, thread](fiber&& scheduler) {
                          thread->scheduler = std::move(scheduler);
                          for (;;) {
                            run_->body();
                            leave(*thread, State::kEnded);
                          }
                          return fiber();
                        });
  }

  static uint3 place_in(unsigned index, const dim3& shape) {
    return {index % shape.x, index / shape.x % shape.y, index / shape.x / shape.y};
  }

  struct alignas(16) Chunk {
    std::uint64_t words[2];
  };

  Run* run_ = nullptr;
  Thread* current_ = nullptr;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Warp> warps_;
  Barrier barrier_;
  unsigned live_ = 0;
  std::vector<Chunk> shared_;
};

Executor& executor() {
  // Never destroyed: its fibers would be unwound out of kernels.
  thread_local Executor* const own = new Executor;
  return *own;
}

/// Host threads for blocks beside the first, kept for the next grid.
class Helpers {
 public:
  void help(Run& run) {
    ++run.helpers;
    const std::lock_guard lock(mutex_);
    waiting_.push_back(&run);
    if (idle_ < waiting_.size()) std::thread([this] { loop(); }).detach();
    changed_.notify_one();
  }

 private:
  void loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      changed_.wait(lock, [this] { return !waiting_.empty(); });
      --idle_;
      Run& run = *waiting_.back();
      waiting_.pop_back();
      lock.unlock();
      take_rights_of(run.shape.device);
      executor().work(run);
      --run.helpers;
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Run*> waiting_;
  std::size_t idle_ = 0;
};

void ask_for_help(Run& run) {
  static Helpers* const helpers = new Helpers;
  helpers->help(run);
}

}  // namespace

void fail(const char* what) {
  std::fprintf(stderr, "emulated GPU: a kernel went wrong: %s\n", what);
  std::abort();
}

void run_grid(const GridShape& shape, const std::function<void()>& body) {
  Run run{shape, body, shape.blocks.x * shape.blocks.y * shape.blocks.z};
  executor().work(run);
  while (run.helpers > 0) sched_yield();
}

void* dynamic_shared() {
  return executor().dynamic_shared();
}

const std::byte* exchange(unsigned mask, WarpFunction function, const void* value, std::size_t bytes) {
  Executor& runner = executor();
  Thread& thread = runner.current();
  Warp& warp = runner.warp_of(thread);
  const unsigned lane = thread.index % kLanes, expected = mask & warp.exists;
  if ((mask >> lane & 1) == 0) fail("a lane calls a warp function with a mask that does not name it");
  if ((expected & ~warp.live) != 0) fail("a warp function names a thread that has ended");
  if (warp.arrived == 0) {
    warp.function = function;
    warp.mask = mask;
  } else if (warp.function != function || warp.mask != mask) {
    fail("lanes of a warp are at different warp functions");
  }
  const unsigned generation = warp.generation;
  std::byte* values = warp.values[generation & 1].data();
  std::memcpy(values + lane * kExchangeBytes, value, bytes);
  warp.arrived |= 1u << lane;
  if (warp.arrived == expected) {
    warp.arrived = 0;
    ++warp.generation;
  } else {
    runner.leave(thread, State::kAtWarp, generation);
  }
  return values;
}

Votes sync_block(bool vote) {
  Executor& runner = executor();
  Thread& thread = runner.current();
  Barrier& barrier = runner.barrier();
  const unsigned generation = barrier.generation;
  barrier.votes.all &= vote;
  barrier.votes.any |= vote;
  if (++barrier.arrived == runner.live()) {
    runner.release_barrier();
  } else {
    runner.leave(thread, State::kAtBarrier, generation);
  }
  return barrier.results[generation & 1];
}

void poll() {
  Executor& runner = executor();
  runner.leave(runner.current(), State::kPolling);
}

void start_copy16(void* to, const void* from) {
  executor().current().copies.push_back({to, from});
}

void finish_copies() {
  std::vector<Copy>& copies = executor().current().copies;
  for (const Copy& copy : copies) {
    if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, 16);
    } else {
      std::memset(copy.to, 0, 16);
    }
  }
  copies.clear();
}

}  // namespace tandem::emulation
