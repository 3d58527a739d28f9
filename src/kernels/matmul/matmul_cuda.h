#pragma once
// matmul on GPUs, for matmul.cc. Arguments are checked by the caller; neither num_tokens nor parts are 0.

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/matmul/matmul.h"

namespace tandem {

std::size_t matmul_scratch_bytes_cuda(DType activations, std::int64_t num_tokens, const ConstMatrix& w);

void prepare_matmul_cuda(const Stream& stream);

void matmul_cuda(const Stream& stream, ConstTensor x, std::span<const MatmulPart> parts, Tensor scratch);

}  // namespace tandem
