#include "comm/gpu/stall_kernel.h"

#include <cuda_runtime_api.h>

namespace tandem {
namespace {

__device__ std::uint64_t global_nanoseconds() {
  std::uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

__global__ void stall_kernel(const std::uint32_t* release, std::uint64_t limit_ns) {
  const std::uint64_t begin = global_nanoseconds();
  while (*static_cast<const volatile std::uint32_t*>(release) == 0 && global_nanoseconds() - begin < limit_ns) {
  }
}

}  // namespace

int launch_stall(void* stream, const std::uint32_t* release, std::uint64_t limit_ns) {
  stall_kernel<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(release, limit_ns);
  return cudaGetLastError();
}

int load_stall() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, stall_kernel);
}

}  // namespace tandem
