#pragma once
// What the errors of CUDA mean on a machine of several GPUs. Numbers and names: NVIDIA's CUDA Runtime API, cudaError.

#include <span>
#include <string_view>

namespace tandem {

struct CudaCode {
  int number;
  std::string_view name;
  std::string_view title;   ///< what happened
  std::string_view remedy;  ///< what to do
};

/// By number.
std::span<const CudaCode> cuda_codes();

}  // namespace tandem
