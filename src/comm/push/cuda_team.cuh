#pragma once
// Teams of threads that work on a row together (comm/protocol/env.h): a cluster of blocks, where there are clusters,
// else a block. A row of 16 KB takes one SM microseconds longer than eight.
//
// Sums travel as messages that count at the receiver (st.async on an mbarrier). A barrier of the cluster would be a
// release of all that its threads have written, to peers too, and take half a microsecond.

#include "comm/push/cuda_env.cuh"

namespace tandem {

/// Blocks of a team at most, and warps in a team.
inline constexpr int kMaxTeamBlocks = 8;
inline constexpr int kMaxTeamWarps = 32;

/// What the warps of a team leave in the shared memory of each of its blocks: by parity of the row, as the next row's
/// may come while this one's are still read. Not while those of the row before are: a warp sends a row's sum after it
/// has read the sums of the row before it, and nobody is two rows ahead of one whose sum is missing.
struct TeamSums {
  struct alignas(8) OfWarp {
    float sum;
    std::uint32_t ok;
  };
  OfWarp of_warps[2][kMaxTeamWarps];
  std::uint64_t arrived[2];  ///< mbarriers
};

/// Base: CudaBlock, or an Env.
template <class Base>
class WithTeam : public Base {
 public:
  /// Before anything else; all threads of the block, whole warps.
  template <class... Arguments>
  __device__ explicit WithTeam(TeamSums& sums, const Arguments&... arguments) : Base(arguments...), sums_(sums) {
#if __CUDA_ARCH__ >= 900
    asm("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(blocks_));
    if (blocks_ == 1) return;
    if (this->thread() == 0) {
      for (int parity = 0; parity < 2; ++parity) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared(&sums_.arrived[parity])) : "memory");
      }
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
      expect_row(0);
      expect_row(1);
    }
    __syncwarp();
    asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");  // the first sum waits for all to have begun
#endif
  }

  __device__ int team() const { return this->block() / blocks_; }
  __device__ int num_teams() const { return this->num_blocks() / blocks_; }
  __device__ int team_thread() const { return this->block() % blocks_ * this->num_threads() + this->thread(); }
  __device__ int team_threads() const { return blocks_ * this->num_threads(); }

  __device__ bool team_sum(bool ok, float& x) {
    const int row = row_++, parity = row & 1, lane = this->thread() % 32;
    const int warp = team_thread() / 32, warps = team_threads() / 32;
    for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(~0u, x, distance);
    const std::uint32_t warp_ok = __all_sync(~0u, ok) ? 1 : 0;
    TeamSums::OfWarp* const slots = sums_.of_warps[parity];
    if (blocks_ == 1) {
      if (lane == 0) slots[warp] = {x, warp_ok};
      __syncthreads();
    } else {
      if (row == 0) begin_together();
      if (lane < blocks_) send(lane, &slots[warp], &sums_.arrived[parity], x, warp_ok);
      wait_for_row(row);
    }
    const TeamSums::OfWarp of_warp = lane < warps ? slots[lane] : TeamSums::OfWarp{0, 1};
    x = of_warp.sum;
    for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(~0u, x, distance);
    if (blocks_ > 1 && this->thread() == 0) expect_row(row + 2);
    return __all_sync(~0u, of_warp.ok != 0);
  }

 private:
  static __device__ std::uint32_t shared(const void* place) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(place));
  }
  __device__ void expect_row(int row) const {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared(&sums_.arrived[row & 1])),
                 "r"(static_cast<std::uint32_t>(team_threads() / 32 * sizeof(TeamSums::OfWarp)))
                 : "memory");
#endif
  }
  static __device__ void begin_together() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#endif
  }
  /// Into the same places of the team's block `block`.
  static __device__ void send(int block, void* slot, void* barrier, float sum, std::uint32_t ok) {
#if __CUDA_ARCH__ >= 900
    std::uint32_t slot_there, barrier_there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(slot_there) : "r"(shared(slot)), "r"(block));
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(barrier_there) : "r"(shared(barrier)), "r"(block));
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%0], {%1, %2}, [%3];" ::"r"(slot_there),
                 "r"(__float_as_uint(sum)), "r"(ok), "r"(barrier_there)
                 : "memory");
#endif
  }
  /// The team's threads are on their way: the wait is as short as the slowest of them.
  __device__ void wait_for_row(int row) const {
#if __CUDA_ARCH__ >= 900
    std::uint32_t done = 0;
    while (done == 0) {
      asm volatile(
          "{\n"
          ".reg .pred p;\n"
          "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n"
          "selp.u32 %0, 1, 0, p;\n"
          "}\n"
          : "=r"(done)
          : "r"(shared(&sums_.arrived[row & 1])), "r"(row >> 1 & 1)
          : "memory");
    }
#endif
  }

  TeamSums& sums_;
  int blocks_ = 1, row_ = 0;
};

}  // namespace tandem
