#pragma once
// Launchers of comm/protocol/norm.h. They queue and do not wait, in graph capture too.

#include "base/dtype.h"
#include "comm/protocol/norm.h"
#include "comm/push/push_device.h"

namespace tandem {

/// Each returns a cudaError_t.
int launch_add_rms_norm(void* stream, DType dtype, const AddRmsNorm& norm);

/// Behind an all-reduce in one shot of sentinel packets, in the same kernel. launch.blocks: the most that may run at
/// once.
int launch_all_reduce_add_norm(const PushRank& rank, const PushLaunch& launch, DType dtype, const AddRmsNorm& norm);

/// See load_push_kernels.
int load_norm_kernels(int world_size);

}  // namespace tandem
