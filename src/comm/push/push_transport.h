#pragma once

#include <memory>

#include "comm/gpu/gpu_communicator.h"
#include "comm/push/tuning.h"

namespace tandem {

/// Back-end "p2p": ranks push into their peers' GPU memory. Throws as PushGroup does. `tuning` is the group's.
std::unique_ptr<GpuTransport> make_p2p_transport(GpuCommunicator& owner, const Tuning& tuning);

/// Back-end "native": the same protocols through pinned host memory; needs no peer access.
std::unique_ptr<GpuTransport> make_native_transport(GpuCommunicator& owner, const Tuning& tuning);

/// add_rms_norm on a GPU, the current device.
void queue_add_rms_norm(const Stream& stream, DType dtype, const AddRmsNorm& norm);

}  // namespace tandem
