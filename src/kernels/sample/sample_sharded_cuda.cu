// One block a row, so that rows do not depend on each other: it takes what all ranks gave, and passes over the rank's
// keys once. What threads add up is whole numbers, so their order is nobody's business.
#include "device/cuda/launch.cuh"
#include "kernels/elements.cuh"
#include "kernels/sample/sample_sharded_cuda.h"

namespace tandem {
namespace {

using namespace sampling;

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
constexpr unsigned kFullWarp = 0xffffffffu;
// Copies of a histogram, for lanes of a warp that have the same bin.
constexpr int kCopies = 8;

using Word = unsigned long long;  // what shuffles and atomics call 64 bits

struct Shared {
  State state;
  std::uint64_t reduced[kWarps];
  std::uint64_t masses[kWarps], ties[kWarps];  // of each warp's part of the keys
  std::uint64_t amounts[kBins];
  std::uint32_t low[kBins * kCopies], high[kBins * kCopies];
  int bin;
  std::uint64_t above;
  int warp;  // which one has the token, or none: kWarps
  std::uint64_t target, ties_left;
};

__device__ std::uint64_t warp_total(std::uint64_t x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(kFullWarp, static_cast<Word>(x), lanes);
  return x;
}
/// The sum over this lane and those below it.
__device__ std::uint64_t warp_prefix(std::uint64_t x) {
#pragma unroll
  for (unsigned lanes = 1; lanes < 32; lanes *= 2) {
    const std::uint64_t other = __shfl_up_sync(kFullWarp, static_cast<Word>(x), lanes);
    if (threadIdx.x % 32 >= lanes) x += other;
  }
  return x;
}

struct Sum {
  static __device__ std::uint64_t of_warp(std::uint64_t x) { return warp_total(x); }
};
struct Max {
  static __device__ std::uint64_t of_warp(std::uint64_t x) { return warp_max(x); }
};
/// Over the block, in every thread. All threads call it.
template <class Operation>
__device__ std::uint64_t reduce(Shared& shared, std::uint64_t x) {
  __syncthreads();
  x = Operation::of_warp(x);
  if (threadIdx.x % 32 == 0) shared.reduced[threadIdx.x / 32] = x;
  __syncthreads();
  return Operation::of_warp(shared.reduced[threadIdx.x % 32]);
}
static_assert(kWarps == 32, "reduce() reads a word a lane");

/// body(key) for every key of the row, spread over the block.
template <class Body>
__device__ void for_each_key(const std::uint32_t* keys, std::int64_t share, const Body& body) {
  const std::int64_t fours = share / 4;
  for (std::int64_t i = threadIdx.x; i < fours; i += kThreads) {
    const uint4 four = reinterpret_cast<const uint4*>(keys)[i];
    body(four.x);
    body(four.y);
    body(four.z);
    body(four.w);
  }
  for (std::int64_t i = fours * 4 + threadIdx.x; i < share; i += kThreads) body(keys[i]);
}

/// What ranks gave for this row.
struct Gathered {
  const std::uint64_t* words;
  std::int64_t num_rows;
  int words_a_row;
  __device__ std::uint64_t word(int rank, int i) const {
    return words[(rank * num_rows + blockIdx.x) * words_a_row + i];
  }
  __device__ std::uint64_t largest(int i, int world_size) const {
    std::uint64_t result = 0;
    for (int r = 0; r < world_size; ++r) result = word(r, i) > result ? word(r, i) : result;
    return result;
  }
  /// Over the ranks below `end`.
  __device__ std::uint64_t sum(int i, int end) const {
    std::uint64_t result = 0;
    for (int r = 0; r < end; ++r) result += word(r, i);
    return result;
  }
};

__device__ bool is_searching(const SampleStepArguments& a, const SampleRow& row, SearchStep step) {
  return step.first == SampleStep::kTopK ? has_top_k(row, a.vocabulary) : has_top_p(row);
}

/// Warp 0 finds the bin of shared.amounts in which the search goes on: eight bins a lane, the upper ones first.
__device__ void find_bin(Shared& shared, std::uint64_t need) {
  constexpr int kBinsALane = kBins / 32;
  const int top = kBins - 1 - static_cast<int>(threadIdx.x) * kBinsALane;
  std::uint64_t own = 0;
  for (int b = 0; b < kBinsALane; ++b) own += shared.amounts[top - b];
  const std::uint64_t upto = warp_prefix(own);
  const unsigned reached = __ballot_sync(kFullWarp, upto >= need);
  // Where nothing reaches it, which takes logits that are not finite, the last bin is as good as any.
  if (static_cast<int>(threadIdx.x) != (reached == 0 ? 31 : __ffs(static_cast<int>(reached)) - 1)) return;
  std::uint64_t above = upto - own;
  int bin = top;
  for (; bin > top - kBinsALane + 1 && above + shared.amounts[bin] < need; --bin) above += shared.amounts[bin];
  shared.bin = bin;
  shared.above = above;
}

/// Brings shared.state up to date. All threads call it; the state is everybody's on return.
__device__ void take(Shared& shared, const SampleStepArguments& a, const SampleRow& row) {
  State& state = shared.state;
  const Gathered gathered{a.gathered, a.num_rows, words_of(a.previous)};
  const SearchStep step = search_step(a.previous);
  const bool searching = step.level >= 0 && is_searching(a, row, step);
  if (threadIdx.x == 0) {
    if (a.previous != SampleStep::kStart && a.previous != SampleStep::kLargest) state = a.states[blockIdx.x];
    if (a.previous == SampleStep::kLargest) {
      state = state_after_largest(row, gathered.largest(0, a.world_size), gathered.largest(1, a.world_size));
    }
    if (a.previous == SampleStep::kTotal) take_total(state, row, gathered.sum(0, a.world_size));
    if (a.previous == SampleStep::kMass) {
      take_masses(state, row, gathered.sum(0, a.world_size), gathered.sum(0, a.rank), gathered.word(a.rank, 0));
    }
  }
  if (searching && threadIdx.x < kBins) {
    shared.amounts[threadIdx.x] = gathered.sum(static_cast<int>(threadIdx.x), a.world_size);
  }
  __syncthreads();
  if (searching) {
    if (threadIdx.x < 32) find_bin(shared, state.need);
    __syncthreads();
    if (threadIdx.x == 0) {
      take_bin(state, step.level, shared.bin, shared.above);
      if (step.level == kLevels - 1) {
        if (step.first == SampleStep::kTopK) {
          end_top_k(state);
        } else {
          end_top_p(state, row, gathered.sum(shared.bin, a.rank));
        }
      }
    }
  }
  __syncthreads();
  if (threadIdx.x == 0 && a.previous != SampleStep::kStart) a.states[blockIdx.x] = state;
}

__device__ void give_largest(Shared& shared, const SampleStepArguments& a, const SampleRow& row, std::uint32_t* keys,
                             std::uint64_t* message) {
  const float* logits = a.logits + std::int64_t{blockIdx.x} * a.share;
  std::uint64_t bad = 0;
  for (std::int64_t i = threadIdx.x; i < a.share; i += kThreads) {
    const float logit = logits[i];
    keys[i] = key_of(logit);
    if (!is_finite(logit) && bad == 0) bad = static_cast<std::uint64_t>(kAllFinite - (a.vocab_begin + i));
  }
  bad = reduce<Max>(shared, bad);  // and keys are written before they are written again
  if (row.repetition_penalty != 1) {
    const std::int32_t* history = a.history + std::int64_t{blockIdx.x} * a.history_stride;
    for (std::int64_t j = threadIdx.x; j < row.num_history && j < a.history_stride; j += kThreads) {
      const std::int64_t i = history[j] - a.vocab_begin;
      if (0 <= i && i < a.share) keys[i] = key_of(penalised(logits[i], row.repetition_penalty));
    }
  }
  __syncthreads();
  std::uint64_t best = 0;
  for (std::int64_t i = threadIdx.x; i < a.share; i += kThreads) {
    const std::uint64_t place = place_of(keys[i], a.vocab_begin + i);
    if (place > best) best = place;
  }
  best = reduce<Max>(shared, best);
  if (threadIdx.x == 0) {
    message[0] = best;
    message[1] = bad;
  }
}

__device__ void give_histogram(Shared& shared, const SampleStepArguments& a, const SampleRow& row, SearchStep step,
                               const std::uint32_t* keys, std::uint64_t* message) {
  for (int i = threadIdx.x; i < kBins * kCopies; i += kThreads) shared.low[i] = shared.high[i] = 0;
  __syncthreads();
  if (is_searching(a, row, step)) {
    const State state = shared.state;
    for_each_key(keys, a.share, [&](std::uint32_t key) {
      const std::uint64_t amount = amount_in(state, row, step, key);
      if (amount == 0) return;
      // Two sums of 32 bits, as those are native; whoever makes the lower one wrap carries.
      const int slot = bin_of(key, step.level) * kCopies + static_cast<int>(threadIdx.x % kCopies);
      const auto low = static_cast<std::uint32_t>(amount);
      const std::uint32_t before = atomicAdd(&shared.low[slot], low);
      const std::uint32_t high = static_cast<std::uint32_t>(amount >> 32) + (before + low < before ? 1 : 0);
      if (high != 0) atomicAdd(&shared.high[slot], high);
    });
  }
  __syncthreads();
  if (threadIdx.x >= kBins) return;
  std::uint64_t sum = 0;
  for (int c = 0; c < kCopies; ++c) {
    const int slot = static_cast<int>(threadIdx.x) * kCopies + c;
    sum += std::uint64_t{shared.high[slot]} << 32 | shared.low[slot];
  }
  message[threadIdx.x] = sum;
}

__device__ void give_total(Shared& shared, const SampleStepArguments& a, const SampleRow& row,
                           const std::uint32_t* keys, std::uint64_t* message) {
  const State state = shared.state;
  std::uint64_t sum = 0;
  for_each_key(keys, a.share, [&](std::uint32_t key) {
    if (key >= state.least) sum += mass_of(weight_in(state, row, key));
  });
  sum = reduce<Sum>(shared, sum);
  if (threadIdx.x == 0) message[0] = sum;
}

__device__ std::uint64_t fewer(std::uint64_t a, std::uint64_t b) {
  return a < b ? a : b;
}

__device__ void give_mass(Shared& shared, const SampleStepArguments& a, const SampleRow& row, const std::uint32_t* keys,
                          std::uint64_t* message) {
  const State state = shared.state;
  std::uint64_t sum = 0, ties = 0;
  for_each_key(keys, a.share, [&](std::uint32_t key) {
    if (key > state.least) sum += mass_in(state, row, key);
    if (key == state.least) ++ties;
  });
  sum = reduce<Sum>(shared, sum);
  ties = fewer(reduce<Sum>(shared, ties), state.ties);
  if (threadIdx.x == 0) message[0] = sum + ties * mass_in(state, row, state.least);
}

/// Each warp takes a run of tokens. Once it is known which of them has the token, that one goes through its run.
__device__ void give_token(Shared& shared, const SampleStepArguments& a, const SampleRow& row,
                           const std::uint32_t* keys, std::uint64_t* message) {
  const State state = shared.state;
  if (state.target == kAll) {  // of the whole block
    if (threadIdx.x == 0) message[0] = 0;
    return;
  }
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t run = (a.share + kThreads - 1) / kThreads * 32;
  const std::int64_t begin = warp * run, end = begin + run < a.share ? begin + run : a.share;
  const std::uint64_t each = mass_in(state, row, state.least);
  std::uint64_t sum = 0, ties = 0;
  for (std::int64_t i = begin + lane; i < end; i += 32) {
    if (keys[i] > state.least) sum += mass_in(state, row, keys[i]);
    if (keys[i] == state.least) ++ties;
  }
  sum = warp_total(sum);
  ties = warp_total(ties);
  if (lane == 0) {
    shared.masses[warp] = sum;
    shared.ties[warp] = ties;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    shared.target = state.target;
    shared.ties_left = state.ties;
    int w = 0;
    for (; w < kWarps; ++w) {
      const std::uint64_t kept = fewer(shared.ties[w], shared.ties_left);
      const std::uint64_t mass = shared.masses[w] + kept * each;
      if (shared.target < mass) break;
      shared.target -= mass;
      shared.ties_left -= kept;
    }
    shared.warp = w;
    if (w == kWarps) message[0] = 0;
  }
  __syncthreads();
  if (warp != shared.warp) return;
  std::uint64_t target = shared.target, ties_left = shared.ties_left;
  for (std::int64_t base = begin; base < end; base += 32) {
    const std::uint32_t key = base + lane < end ? keys[base + lane] : 0;
    const bool inside = base + lane < end, tie = inside && key == state.least;
    const unsigned all_ties = __ballot_sync(kFullWarp, tie);
    const auto ties_below = static_cast<std::uint64_t>(__popc(all_ties & ((1u << lane) - 1)));
    std::uint64_t mass = 0;
    if (inside && key > state.least) mass = mass_in(state, row, key);
    if (tie && ties_below < ties_left) mass = each;
    const std::uint64_t upto = warp_prefix(mass);
    const unsigned beyond = __ballot_sync(kFullWarp, target < upto);
    if (beyond != 0) {
      if (lane == 0) message[0] = static_cast<std::uint64_t>(a.vocab_begin + base + __ffs(static_cast<int>(beyond)));
      return;
    }
    target -= __shfl_sync(kFullWarp, static_cast<Word>(upto), 31);
    ties_left -= fewer(static_cast<std::uint64_t>(__popc(all_ties)), ties_left);
  }
  if (lane == 0) message[0] = 0;
}

__global__ void __launch_bounds__(kThreads) sample_step_kernel(SampleStepArguments a) {
  __shared__ Shared shared;
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const SampleRow row = a.rows[blockIdx.x];
  take(shared, a, row);
  if (a.next == SampleStep::kEnd) {
    if (threadIdx.x == 0) {
      const Gathered gathered{a.gathered, a.num_rows, words_of(a.previous)};
      const std::uint64_t found = a.previous == SampleStep::kToken ? gathered.largest(0, a.world_size) : 0;
      a.tokens[blockIdx.x] = token_of(shared.state, row, found);
    }
    return;
  }
  std::uint32_t* keys = a.keys + std::int64_t{blockIdx.x} * sample_key_stride(a.share);
  std::uint64_t* message = a.message + std::int64_t{blockIdx.x} * words_of(a.next);
  const SearchStep step = search_step(a.next);
  if (step.level >= 0) {
    give_histogram(shared, a, row, step, keys, message);
  } else if (a.next == SampleStep::kLargest) {
    give_largest(shared, a, row, keys, message);
  } else if (a.next == SampleStep::kTotal) {
    give_total(shared, a, row, keys, message);
  } else if (a.next == SampleStep::kMass) {
    give_mass(shared, a, row, keys, message);
  } else {
    give_token(shared, a, row, keys, message);
  }
}

}  // namespace

int sample_step_cuda(void* stream, const SampleStepArguments& arguments) {
  const cuda::Grid grid{.blocks = static_cast<unsigned>(arguments.num_rows), .threads = kThreads};
  return cuda::launch(stream, grid, sample_step_kernel, arguments);
}

}  // namespace tandem
