#pragma once
// The two CPU paths of matmul, for matmul.cc and its tests. Arguments are checked by the caller.

#include <span>

#include "kernels/matmul/matmul.h"
#include "kernels/matmul/row_kernels.h"

namespace tandem {

/// Few tokens: every row is decoded in registers and multiplied with all tokens at once, `kernels.max_tokens` at a
/// time.
void matmul_rows(const Stream& stream, ConstTensor x, std::span<const MatmulPart> parts, const RowKernels& kernels);

/// Many tokens: tiles of rows are decoded to f32 and given to a GEMM.
void matmul_blocked(const Stream& stream, ConstTensor x, std::span<const MatmulPart> parts, const RowKernels& kernels);

/// Picks between the two by the number of tokens.
void matmul_cpu(const Stream& stream, ConstTensor x, std::span<const MatmulPart> parts, const RowKernels& kernels);

}  // namespace tandem
