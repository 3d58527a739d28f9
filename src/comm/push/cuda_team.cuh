#pragma once
// Teams of threads that work on a row together (comm/protocol/env.h): a cluster of blocks, where there are clusters,
// else a block. A row of 16 KB takes one SM 3 us longer than eight.

#include "comm/push/cuda_env.cuh"

namespace tandem {

/// Blocks of a team at most; of warps in a team, 32.
inline constexpr int kMaxTeamBlocks = 8;
inline constexpr int kMaxTeamWarps = 32;

/// Where the warps of a team leave their sums, in the shared memory of each of its blocks: by parity of the row, as the
/// next row's may come while this one's are still read.
struct TeamSums {
  float of_warps[2][kMaxTeamWarps];
  int refused[2];
};

/// Base: CudaBlock, or an Env.
template <class Base>
class WithTeam : public Base {
 public:
  /// Before anything else; all threads of the block, whole warps.
  template <class... Arguments>
  __device__ explicit WithTeam(TeamSums& sums, const Arguments&... arguments) : Base(arguments...), sums_(sums) {
    if (this->thread() < kMaxTeamWarps) sums_.of_warps[0][this->thread()] = sums_.of_warps[1][this->thread()] = 0;
    if (this->thread() < 2) sums_.refused[this->thread()] = 0;
    __syncthreads();
    arrive_at_team();  // the first team_sum waits: until then nobody may write here, or to a block that has not begun
  }

  __device__ int team_blocks() const {
#if __CUDA_ARCH__ >= 900
    int blocks;
    asm("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(blocks));
    return blocks;
#else
    return 1;
#endif
  }
  __device__ int team() const { return this->block() / team_blocks(); }
  __device__ int num_teams() const { return this->num_blocks() / team_blocks(); }
  __device__ int team_thread() const { return this->block() % team_blocks() * this->num_threads() + this->thread(); }
  __device__ int team_threads() const { return team_blocks() * this->num_threads(); }

  __device__ bool team_sum(bool ok, float& x) {
    const int parity = row_++ & 1, lane = this->thread() % 32;
    for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(~0u, x, distance);
    const bool warp_ok = __all_sync(~0u, ok);
    const int warp = team_thread() / 32;
    if (row_ == 1) wait_for_team();
    if (lane < team_blocks()) {
      store_in_team(&sums_.of_warps[parity][warp], lane, __float_as_uint(x));
      if (!warp_ok) store_in_team(&sums_.refused[parity], lane, 1);
    }
    arrive_at_team();
    wait_for_team();
    x = sums_.of_warps[parity][lane];  // those that no warp writes stay zero
    for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(~0u, x, distance);
    return sums_.refused[parity] == 0;
  }

 private:
  static __device__ void arrive_at_team() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.release;" ::: "memory");
#endif
  }
  static __device__ void wait_for_team() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#else
    __syncthreads();
#endif
  }
  /// Into the same place of the team's block `block`.
  static __device__ void store_in_team(void* place, int block, std::uint32_t word) {
    const auto own = static_cast<std::uint32_t>(__cvta_generic_to_shared(place));
#if __CUDA_ARCH__ >= 900
    std::uint32_t there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(own), "r"(block));
    asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(there), "r"(word) : "memory");
#else
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(own), "r"(word) : "memory");
#endif
  }

  TeamSums& sums_;
  int row_ = 0;
};

}  // namespace tandem
