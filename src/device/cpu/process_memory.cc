#include "device/cpu/process_memory.h"

#include <fstream>
#include <string>

namespace tandem {
namespace {

// The number after `key` in a file of "Key:   123 kB" lines, in bytes.
std::uint64_t read_kilobytes(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    std::uint64_t value = 0;
    if (word == key && file >> value) return value * 1024;
  }
  return 0;
}

}  // namespace

std::uint64_t peak_resident_memory() {
  return read_kilobytes("/proc/self/status", "VmHWM:");
}

std::uint64_t available_memory() {
  return read_kilobytes("/proc/meminfo", "MemAvailable:");
}

}  // namespace tandem
