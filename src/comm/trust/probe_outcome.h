#pragma once
// What a probe can find, for kernels too.

#include <cstdint>

namespace tandem {

/// How the memory of a pair's receiver was found to behave, as the receiver saw it.
enum class ProbeOutcome : std::uint32_t {
  kNotTried,    ///< nobody looked, or an earlier failure came first
  kPassed,      ///< every message came, whole, unchanged and in order
  kNoAccess,    ///< the driver claims none
  kMapFailed,   ///< the driver claims access, and refuses to map
  kLost,        ///< a message did not come before the deadline
  kCorrupt,     ///< other bits than were sent
  kOutOfOrder,  ///< a flag was seen before the data that it vouches for
};

}  // namespace tandem
