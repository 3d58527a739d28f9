#pragma once
// What kernels share on the host. Activations are f32 on CPUs; on GPUs f32, f16 or bf16, the same in a whole model,
// with sums in f32.

#include <string_view>

#include "device/cuda/cuda_check.h"
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// Throws kInternal naming `what` unless `x` has a dtype of activations on the stream's device and lies there.
inline void check_activations(std::string_view what, const Stream& stream, ConstTensor x) {
  if (stream.device().is_cpu()) return check_dtype(what, x, DType::kF32);
  TANDEM_CHECK(x.dtype() == DType::kF32 || x.dtype() == DType::kF16 || x.dtype() == DType::kBF16, "{} is {}", what,
               to_string(x.dtype()));
  TANDEM_CHECK(x.device() == stream.device(), "{} is on {}, the stream on {}", what, to_string(x.device()),
               to_string(stream.device()));
}

/// Throws kInternal naming kernel, device and CUDA's words unless `error`, a cudaError_t of a launch, is success.
inline void check_launch(const char* kernel, const Stream& stream, int error) {
  if constexpr (kBuiltWithCuda) {
    if (error != 0) cuda::call_failed(error, format("{} on {}", kernel, to_string(stream.device())).c_str());
  }
}

}  // namespace tandem
