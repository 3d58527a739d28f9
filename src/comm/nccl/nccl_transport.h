#pragma once

#include <memory>

#include "comm/gpu/gpu_communicator.h"

namespace tandem {

/// Back-end "nccl": NVIDIA's library, found when the first communicator is made. Throws kUnsupported where there is
/// none that we can use, and for ranks that share a GPU. Returns at once; NCCL's communicator is made and warmed up
/// beside, and the first call waits for it (up to two minutes: NCCL looks at the whole machine).
///
/// Sums: in an order and with roundings between ranks that NCCL chooses by size, dtype and machine; half types are
/// rounded after each addition.
std::unique_ptr<GpuTransport> make_nccl_transport(GpuCommunicator& owner);

}  // namespace tandem
