#include "comm/push/norm_kernels.h"

#include <algorithm>

#include "comm/push/cuda_env.cuh"
#include "comm/push/launch.cuh"

namespace tandem {
namespace {

constexpr int kMaxThreads = 1024;

template <DType kDType>
__global__ void __launch_bounds__(kMaxThreads, 1) add_rms_norm_kernel(const __grid_constant__ AddRmsNorm norm) {
  touch(norm);
  overlap_launches();
  CudaBlock block;
  for (std::int64_t row = block.block(); row < norm.rows; row += block.num_blocks()) {
    add_norm_row<kDType>(block, norm, row, [&](std::int64_t i, Pack& pack) {
      pack = norm.in(row).load(i);
      return true;
    });
  }
}

template <DType kDType, int kWidth>
__global__ void __launch_bounds__(kMaxThreads, 1)
    all_reduce_add_norm_kernel(const __grid_constant__ PushRank rank, const __grid_constant__ AddRmsNorm norm,
                               std::uint32_t operation) {
  touch(rank);
  touch(norm);
  overlap_launches();
  CudaEnv env(rank, operation, PacketArea::kOneShotSentinel);
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

int threads_for(const AddRmsNorm& norm) {
  return static_cast<int>(std::clamp<std::int64_t>((norm.row_packs() + 31) / 32 * 32, 32, kMaxThreads));
}

}  // namespace

int launch_add_rms_norm(void* stream, DType dtype, const AddRmsNorm& norm) {
  constexpr std::int64_t kMaxBlocks = 1024;
  const auto blocks = static_cast<int>(std::min(norm.rows, kMaxBlocks));
  return launch_kernel(local_kernel(dtype), {stream, blocks, threads_for(norm), 0}, norm);
}

int launch_all_reduce_add_norm(const PushRank& rank, const PushLaunch& launch, DType dtype, const AddRmsNorm& norm) {
  PushLaunch grid = launch;
  grid.threads = threads_for(norm);
  return launch_kernel(fused_kernel(dtype, rank.world_size), grid, rank, norm, launch.operation);
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
