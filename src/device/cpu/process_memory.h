#pragma once
// Memory of this process, as the kernel counts it.

#include <cstdint>

namespace tandem {

/// The most bytes that were resident at a time, from /proc/self/status; 0 where that cannot be read.
std::uint64_t peak_resident_memory();

/// Bytes a new process could use without swapping, from /proc/meminfo; 0 where that cannot be read.
std::uint64_t available_memory();

}  // namespace tandem
