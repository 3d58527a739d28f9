#pragma once
// The Env of comm/protocol/env.h on a GPU.
//
// Memory order. Packets: relaxed stores and loads at system scope, each half or word of which proves itself. Words
// (filled, emptied): release and acquire at system scope; the barrier of the block before `raise` makes what the other
// threads did part of what is released, and the one after the wait hands on what was acquired. Room for tagged chunks
// is given back relaxed: what overwrites them cannot have been read in their place (ring.h).

#include "comm/protocol/exchange.h"
#include "comm/protocol/ring.h"
#include "comm/push/push_device.h"
#include "device/cuda/memory.cuh"

namespace tandem {

using cuda::global_nanoseconds;
using cuda::load_acquire;
using cuda::load_relaxed;
using cuda::store_relaxed;
using cuda::store_release;

/// The threads of a block.
class CudaBlock {
 public:
  __device__ int block() const { return static_cast<int>(blockIdx.x); }
  __device__ int num_blocks() const { return static_cast<int>(gridDim.x); }
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int num_threads() const { return static_cast<int>(blockDim.x); }
  __device__ void sync_block() const { __syncthreads(); }
  __device__ bool sync_block(bool ok) const { return __syncthreads_and(ok) != 0; }
};

/// A block's rings before a call, in shared memory.
struct RingCounts {
  std::uint32_t sent[kMaxWorldSize], received[kMaxWorldSize], emptied[kMaxWorldSize];
};

class CudaEnv : public CudaBlock {
 public:
  /// For a call in a packet area.
  __device__ CudaEnv(const PushRank& rank, std::uint32_t operation, PacketArea area)
      : rank_(rank), operation_(operation), area_(area) {}

  __device__ bool begin(std::int64_t num_packs) {
    DeviceWords::Area& area = rank_.words->areas[static_cast<int>(area_)];
    const std::uint32_t poison = load_relaxed(&rank_.words->poison);
    const std::uint64_t calls = *const_cast<volatile std::uint64_t*>(&area.progress) >> kProgressBits;
    // Generation 1 follows 0, which is "never", and kLastGeneration.
    generation_ = static_cast<std::uint32_t>((calls < kLastGeneration ? calls : calls % kLastGeneration) + 1);
    last_num_packs_ = area.num_packs[calls & 1];
    __syncthreads();  // all threads of the block have read
    if (thread() == 0) {
      const PackShares parts{std::int64_t{1} << kProgressBits, num_blocks()};
      atomicAdd(reinterpret_cast<unsigned long long*>(&area.progress),
                static_cast<unsigned long long>(parts.count(block())));
      if (block() == 0) area.num_packs[(calls + 1) & 1] = num_packs;
    }
    return poison == 0 || leave();
  }

  /// For a probe.
  __device__ explicit CudaEnv(const PushRank& rank) : rank_(rank), operation_(0) {}

  /// For a call over rings; see read_counts.
  __device__ CudaEnv(const PushRank& rank, std::uint32_t operation, RingCounts& counts)
      : rank_(rank), operation_(operation), counts_(&counts) {}

  /// Reads all that is needed before the first chunk at once, a rank a thread. Whether the group lives, for all
  /// threads.
  __device__ bool read_counts() {
    const std::uint32_t poison = load_relaxed(&rank_.words->poison);
    for (int r = thread(); r < world_size(); r += num_threads()) {
      counts_->sent[r] = *counter(0, r);
      counts_->received[r] = *counter(1, r);
      counts_->emptied[r] = load_acquire(inbox_word(rank(), layout().emptied_word(block(), r)));
    }
    if (__syncthreads_or(poison != 0) == 0) return true;
    if (lane() == 0) leave();
    return false;
  }

  __device__ int rank() const { return rank_.rank; }
  __device__ int world_size() const { return rank_.world_size; }
  __device__ std::int64_t lane() const { return blockIdx.x * blockDim.x + threadIdx.x; }
  __device__ std::int64_t num_lanes() const { return gridDim.x * blockDim.x; }
  __device__ const InboxLayout& layout() const { return rank_.layout; }
  __device__ std::uint32_t generation() const { return generation_; }
  __device__ std::int64_t last_num_packs() const { return last_num_packs_; }

  __device__ void put_halves(const Area& area, int to, int slot, std::int64_t index, const Pack& pack) const {
    cuda::store_halves(packet(area, to, slot, index), {pack.words[0] | std::uint64_t{pack.words[1]} << 32,
                                                       pack.words[2] | std::uint64_t{pack.words[3]} << 32});
  }
  __device__ void put_words(const Area& area, int to, int slot, std::int64_t index, const Pack& pack) const {
    cuda::store_words(packet(area, to, slot, index), {pack.words[0], pack.words[1], pack.words[2], pack.words[3]});
  }
  __device__ Pack get_halves(const Area& area, int slot, std::int64_t index) const {
    const ulonglong2 halves = cuda::load_halves(packet(area, rank(), slot, index));
    return {{static_cast<std::uint32_t>(halves.x), static_cast<std::uint32_t>(halves.x >> 32),
             static_cast<std::uint32_t>(halves.y), static_cast<std::uint32_t>(halves.y >> 32)}};
  }
  __device__ Pack get_words(const Area& area, int slot, std::int64_t index) const {
    const uint4 words = cuda::load_words(packet(area, rank(), slot, index));
    return {{words.x, words.y, words.z, words.w}};
  }
  __device__ void refill(const Area& area, int slot, std::int64_t index, const Pack& pack) const {
    *reinterpret_cast<Pack*>(packet(area, rank(), slot, index)) = pack;
  }

  __device__ std::uint32_t sent(int to) const { return counts_->sent[to]; }
  __device__ std::uint32_t received(int from) const { return counts_->received[from]; }
  __device__ std::uint32_t emptied(int to) const { return counts_->emptied[to]; }
  // The next call reads them, after this kernel's end.
  __device__ void add_sent(int to, std::int64_t chunks) const {
    if (thread() == to % num_threads()) *counter(0, to) = advance_generation(sent(to), chunks);
  }
  __device__ void add_received(int from, std::int64_t chunks) const {
    if (thread() == from % num_threads()) *counter(1, from) = advance_generation(received(from), chunks);
  }

  __device__ std::uint32_t word(std::int64_t index) const { return load_acquire(inbox_word(rank(), index)); }
  __device__ void raise(int to, std::int64_t index, std::uint32_t value) const {
    store_release(inbox_word(to, index), value);
  }
  __device__ void raise_relaxed(int to, std::int64_t index, std::uint32_t value) const {
    store_relaxed(inbox_word(to, index), value);
  }
  __device__ void fence() const { cuda::fence_system(); }

  // Looks up seldom: nothing on the fast path.
  __device__ bool keep_waiting(Waiting& waiting) {
    if (++waiting.polls % rank_.polls_a_look != 0) return true;
    if (load_relaxed(&rank_.words->poison) != 0) return leave();
    if (waiting.polls % (16 * rank_.polls_a_look) != 0) return true;
    if (load_relaxed(&rank_.host->abort) != 0) return leave();
    const std::uint64_t now = global_nanoseconds();
    if (waiting.polls == 16 * rank_.polls_a_look) wait_began_ = now;
    if (now - wait_began_ < waiting.limit_ns(rank_.deadline_ns)) return true;
    report(waiting);
    return leave();
  }

  /// The group is dead: this call's output is unspecified, and later kernels return at once, here and at peers.
  __device__ bool leave() const {
    for (int r = 0; r < world_size(); ++r) {
      if (rank_.poisons[r] != nullptr) store_relaxed(rank_.poisons[r], 1);
    }
    store_relaxed(&rank_.host->broken, 1);
    return false;
  }

 private:
  __device__ std::byte* packet(const Area& area, int at, int slot, std::int64_t index) const {
    return rank_.inboxes[at] + area.packet(slot, index) * kPackBytes;
  }
  __device__ std::uint32_t* inbox_word(int at, std::int64_t index) const {
    return reinterpret_cast<std::uint32_t*>(rank_.inboxes[at] + rank_.layout.packet_bytes() +
                                            index * InboxLayout::kWordBytes);
  }
  __device__ std::uint32_t* counter(int kind, int peer) const {
    return rank_.counters + (kind * rank_.layout.ring_blocks + block()) * world_size() + peer;
  }
  __device__ void report(const Waiting& waiting) const {
    if (atomicCAS(&rank_.words->reported, 0u, 1u) != 0) return;
    WaitRecord& record = rank_.host->record;
    record.operation = operation_;
    record.generation = generation_;
    record.phase = waiting.phase;
    record.block = block();
    record.peer = waiting.peer;
    store_release(&record.state, WaitRecord::kComplete);
    __threadfence_system();  // whoever sees the poison finds the record
  }

  const PushRank& rank_;
  std::uint32_t operation_, generation_ = 0;
  PacketArea area_ = {};
  std::int64_t last_num_packs_ = 0;
  RingCounts* counts_ = nullptr;
  std::uint64_t wait_began_ = 0;
};

}  // namespace tandem
