#pragma once
// How kernels begin, and are queued: each may get ready while the one before it ends.

#include <cuda_runtime.h>

namespace tandem::cuda {

/// Lets the next kernel of the stream get ready: its blocks take what room this one leaves. Call it first.
__device__ inline void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Returns when the kernels before this one have ended, with all they wrote. Before it a kernel may only read what no
/// kernel writes, such as weights. Every kernel calls it, in every thread that reads or writes what others write, and
/// in at least one thread of each block: or the kernel after it would not wait for those before it.
__device__ inline void wait_for_kernels_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

struct Grid {
  dim3 blocks = 1;
  unsigned threads = 256;
  std::size_t shared_bytes = 0;  ///< dynamic
  unsigned cluster = 1;          ///< blocks of a cluster
  bool overlaps = true;          ///< false for a kernel that does not call the two above
};

/// Queues a kernel. On GPUs before sm_90 the two above do nothing, and kernels follow each other.
template <class... Parameters, class... Arguments>
cudaError_t launch(void* stream, const Grid& grid, void (*kernel)(Parameters...), const Arguments&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = dim3(grid.threads);
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  cudaLaunchAttribute attributes[2]{};
  config.attrs = attributes;
  if (grid.overlaps) {
    cudaLaunchAttribute& overlap = attributes[config.numAttrs++];
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
  }
  if (grid.cluster > 1) {
    cudaLaunchAttribute& cluster = attributes[config.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {grid.cluster, 1, 1};
  }
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace tandem::cuda
