#pragma once
// How all kernels of the push back-ends begin, and are queued.

#include "comm/push/push_device.h"

namespace tandem {

/// Of packets: two ranks are many people's case, and need half the code.
inline constexpr int kPairWidth = 2;

/// Reads a kernel argument, a word of each line of 64 bytes: the first read of a line comes from far away, and here it
/// does so while the kernel before this one ends.
template <class T>
__device__ void touch(const T& argument) {
  const auto* words = reinterpret_cast<const std::uint64_t*>(&argument);
#pragma unroll
  for (std::size_t i = 0; i < sizeof(T) / sizeof(*words); i += 8) asm volatile("" ::"l"(words[i]));
}

/// Lets the next kernel of the stream get ready, and waits until the one before has ended with all it wrote. Both
/// without effect where the kernel was queued without programmatic launch.
__device__ inline void overlap_launches() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

template <class... Parameters, class... Arguments>
cudaError_t launch_kernel(void (*kernel)(Parameters...), const PushLaunch& launch, const Arguments&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(launch.blocks));
  config.blockDim = dim3(static_cast<unsigned>(launch.threads));
  config.stream = static_cast<cudaStream_t>(launch.stream);
  // Also in eager mode: 0.3 us less a call on H200s.
  cudaLaunchAttribute attributes[2]{};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {static_cast<unsigned>(launch.cluster), 1, 1};
  config.attrs = attributes;
  config.numAttrs = launch.cluster > 1 ? 2 : 1;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace tandem
