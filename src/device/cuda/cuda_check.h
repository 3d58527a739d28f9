#pragma once
// Checking calls of the CUDA runtime, in files that include it.

#include "base/error.h"

namespace tandem::cuda {

/// `error` is a cudaError_t. Throws naming the call and CUDA's own words: kOutOfMemory, kUnsupported (no driver, no
/// device, not supported) or kInternal.
[[noreturn]] void call_failed(int error, const char* call);

}  // namespace tandem::cuda

#define TANDEM_CUDA_CALL(...)                                                                   \
  do {                                                                                          \
    if (const cudaError_t cuda_error_ = (__VA_ARGS__); cuda_error_ != cudaSuccess) [[unlikely]] \
      ::tandem::cuda::call_failed(cuda_error_, #__VA_ARGS__);                                   \
  } while (false)
