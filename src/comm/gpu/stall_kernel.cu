#include "comm/gpu/stall_kernel.h"

#include "device/cuda/launch.cuh"
#include "device/cuda/memory.cuh"

namespace tandem {
namespace {

__global__ void stall_kernel(const std::uint32_t* release, std::uint64_t limit_ns) {
  const std::uint64_t begin = cuda::global_nanoseconds();
  while (cuda::load_relaxed(release) == 0 && cuda::global_nanoseconds() - begin < limit_ns) {
  }
}

}  // namespace

int launch_stall(void* stream, const std::uint32_t* release, std::uint64_t limit_ns) {
  return cuda::launch(stream, {.threads = 1, .overlaps = false}, stall_kernel, release, limit_ns);
}

int load_stall() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, stall_kernel);
}

}  // namespace tandem
