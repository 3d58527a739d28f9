#pragma once

#include <memory>

#include "comm/gpu/gpu_communicator.h"

namespace tandem {

/// Back-end "p2p": ranks push into their peers' GPU memory. Throws kUnsupported where they cannot.
std::unique_ptr<GpuTransport> make_p2p_transport(GpuCommunicator& owner);

/// Back-end "native": the same protocols through pinned host memory; needs no peer access.
std::unique_ptr<GpuTransport> make_native_transport(GpuCommunicator& owner);

/// add_rms_norm on a GPU, the current device.
void queue_add_rms_norm(const Stream& stream, DType dtype, const AddRmsNorm& norm);

}  // namespace tandem
