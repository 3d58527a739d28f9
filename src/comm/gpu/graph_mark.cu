#include "comm/gpu/graph_mark.h"

#include <cuda_runtime_api.h>

namespace tandem {
namespace {

__global__ void graph_mark_kernel(std::uint32_t* word) {
  *static_cast<volatile std::uint32_t*>(word) = *static_cast<volatile std::uint32_t*>(word) + 1;
}

}  // namespace

int launch_graph_mark(void* stream, std::uint32_t* word) {
  graph_mark_kernel<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(word);
  return cudaGetLastError();
}

}  // namespace tandem
