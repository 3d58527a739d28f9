#include "kernels/read_cuda.h"

#include <cuda_runtime.h>

namespace tandem {
namespace {

constexpr int kThreads = 512;
constexpr int kLoads = 8;  // under way in each thread

__global__ void __launch_bounds__(kThreads) read_kernel(const uint4* data, std::size_t count, unsigned* sink) {
  constexpr std::size_t kBlock = std::size_t{kThreads} * kLoads;
  unsigned sum = 0;
  for (std::size_t begin = blockIdx.x * kBlock; begin < count; begin += gridDim.x * kBlock) {
    uint4 words[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const std::size_t at = begin + static_cast<std::size_t>(i) * kThreads + threadIdx.x;
      words[i] = at < count ? __ldcs(data + at) : uint4{};
    }
#pragma unroll
    for (const uint4& word : words) sum ^= word.x ^ word.y ^ word.z ^ word.w;
  }
  if (sum == 0x7fc0ffeeu && count == 1) *sink = sum;  // never: but the compiler must read all
}

}  // namespace

int read_all_cuda(void* stream, const void* data, std::size_t bytes, void* sink) {
  int device = 0, num_sms = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&num_sms, cudaDevAttrMultiProcessorCount, device);
  read_kernel<<<static_cast<unsigned>(4 * num_sms), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      static_cast<const uint4*>(data), bytes / sizeof(uint4), static_cast<unsigned*>(sink));
  return cudaGetLastError();
}

}  // namespace tandem
