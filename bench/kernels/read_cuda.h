#pragma once
// What a GPU can read from its memory: the bound of kernels that stream weights.

#include <cstddef>

namespace tandem {

/// Queues a kernel that reads `bytes` (a multiple of 16) once, 16 at a time. `sink` is 4 bytes that it never writes.
/// Returns a cudaError_t.
int read_all_cuda(void* stream, const void* data, std::size_t bytes, void* sink);

}  // namespace tandem
