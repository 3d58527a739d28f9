#pragma once
// Memory of this process, as the kernel counts it.

#include <cstdint>

namespace tandem {

struct ProcessMemory {
  std::uint64_t resident_bytes = 0;
  std::uint64_t peak_resident_bytes = 0;
};

/// From /proc/self/status; zeros where that cannot be read.
ProcessMemory process_memory();

/// Bytes a new process could use without swapping, from /proc/meminfo; 0 where that cannot be read.
std::uint64_t available_memory();

}  // namespace tandem
