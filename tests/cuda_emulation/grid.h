#pragma once
// Runs a kernel's threads as fibers. The threads of a block share one thread of the host, and with it what is
// `static thread_local` there: its shared memory. Blocks run one after the other, in order; when all threads of one do
// nothing but poll, the next one gets a host thread of its own beside it, as on a GPU with room for both.
//
// What a GPU would not forgive ends the program with a message: a barrier that not all threads reach, warp functions in
// divergent code, a lane that reads from one that takes no part.

#include <cstddef>
#include <cstdint>
#include <functional>

#include "vector_types.h"

/// Of the calling thread of a kernel.
extern thread_local uint3 threadIdx, blockIdx;
extern thread_local dim3 blockDim, gridDim;

namespace tandem::emulation {

struct GridShape {
  dim3 blocks, threads;
  std::size_t shared_bytes = 0;  ///< dynamic
  int device = 0;
};
/// Runs body() in every thread of the grid; returns when all have ended.
void run_grid(const GridShape& shape, const std::function<void()>& body);

/// Ends the program: the kernel did what no GPU allows.
[[noreturn]] void fail(const char* what);

// The rest is called by threads of a kernel.

/// The block's dynamic shared memory; ones at first, that is NaNs.
void* dynamic_shared();

inline constexpr std::size_t kExchangeBytes = 32;
enum class WarpFunction { kShuffle, kVote, kSync, kMatrix };
/// All lanes of `mask` give a value, and get what lane i gave at [i * kExchangeBytes]. Valid until the next exchange.
const std::byte* exchange(unsigned mask, WarpFunction function, const void* value, std::size_t bytes);

struct Votes {
  bool all, any;
};
/// A barrier of the block.
Votes sync_block(bool vote);

/// Gives way to other threads: what is polled may come from them.
void poll();

/// A copy of 16 bytes that is done, and read, in finish_copies() of the same thread. From null: zeros.
void start_copy16(void* to, const void* from);
void finish_copies();

}  // namespace tandem::emulation
