#include "comm/push/norm_kernels.h"

#include <algorithm>

#include "comm/push/cuda_team.cuh"
#include "comm/push/launch.cuh"

namespace tandem {
namespace {

constexpr int kMaxThreads = 32 * kMaxTeamWarps;

template <DType kDType>
__global__ void __launch_bounds__(kMaxThreads, 1) add_rms_norm_kernel(const __grid_constant__ AddRmsNorm norm) {
  __shared__ TeamSums sums;
  WithTeam<CudaBlock> team(sums);
  touch(norm);
  overlap_launches();
  for (std::int64_t row = team.team(); row < norm.rows; row += team.num_teams()) {
    add_norm_row<kDType>(team, norm, row, RowStart(team, norm, row), [&](std::int64_t i, Pack& pack) {
      pack = norm.in(row).load(i);
      return true;
    });
  }
}

template <DType kDType, int kWidth>
__global__ void __launch_bounds__(kMaxThreads, 1)
    all_reduce_add_norm_kernel(const __grid_constant__ PushRank rank, const __grid_constant__ AddRmsNorm norm,
                               std::uint32_t operation) {
  __shared__ TeamSums sums;
  WithTeam<CudaEnv> env(sums, rank, operation, PacketArea::kOneShotSentinel);
  touch(rank);
  touch(norm);
  overlap_launches();
  all_reduce_add_norm<SentinelPackets, kDType, kWidth>(env, rank.layout.one_shot_sentinel, norm);
}

template <DType kDType>
auto fused_kernel(int world_size) {
  return world_size == 2 ? all_reduce_add_norm_kernel<kDType, kPairWidth>
                         : all_reduce_add_norm_kernel<kDType, kAnyWidth>;
}

auto fused_kernel(DType dtype, int world_size) {
  return dtype == DType::kF32   ? fused_kernel<DType::kF32>(world_size)
         : dtype == DType::kF16 ? fused_kernel<DType::kF16>(world_size)
                                : fused_kernel<DType::kBF16>(world_size);
}

auto local_kernel(DType dtype) {
  return dtype == DType::kF32   ? add_rms_norm_kernel<DType::kF32>
         : dtype == DType::kF16 ? add_rms_norm_kernel<DType::kF16>
                                : add_rms_norm_kernel<DType::kBF16>;
}

/// A thread a pack, in as many blocks as leave each two warps and all rows room in `blocks`. The bits of a sum do not
/// depend on the number of blocks: warps are counted over the team.
PushLaunch with_teams(PushLaunch launch, int blocks, const AddRmsNorm& norm) {
  int device = 0, major = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  const std::int64_t warps = std::clamp<std::int64_t>((norm.row_packs() + 31) / 32, 1, kMaxTeamWarps);
  launch.cluster = 1;
  const auto may_double = [&] {
    return launch.cluster < kMaxTeamBlocks && warps >= 4 * launch.cluster && norm.rows * launch.cluster * 2 <= blocks;
  };
  while (major >= 9 && may_double()) launch.cluster *= 2;
  launch.threads = static_cast<int>((warps + launch.cluster - 1) / launch.cluster) * 32;
  launch.blocks = static_cast<int>(std::min<std::int64_t>(norm.rows * launch.cluster, blocks));
  return launch;
}

}  // namespace

int launch_add_rms_norm(void* stream, DType dtype, const AddRmsNorm& norm) {
  constexpr int kMaxBlocks = 1024;
  return launch_kernel(local_kernel(dtype), with_teams({.stream = stream}, kMaxBlocks, norm), norm);
}

int launch_all_reduce_add_norm(const PushRank& rank, const PushLaunch& launch, DType dtype, const AddRmsNorm& norm) {
  return launch_kernel(fused_kernel(dtype, rank.world_size), with_teams(launch, launch.blocks, norm), rank, norm,
                       launch.operation);
}

int load_norm_kernels(int world_size) {
  cudaFuncAttributes attributes;
  int error = cudaSuccess;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, fused_kernel(dtype, world_size));
    if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, local_kernel(dtype));
  }
  return error;
}

}  // namespace tandem
