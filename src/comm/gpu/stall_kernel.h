#pragma once
// For stall.h.

#include <cstdint>

namespace tandem {

/// Queues a kernel of one thread that ends once *release is not 0, or after limit_ns. Returns a cudaError_t.
int launch_stall(void* stream, const std::uint32_t* release, std::uint64_t limit_ns);
/// Loads it on the current device, so that its first launch waits for nothing.
int load_stall();

}  // namespace tandem
