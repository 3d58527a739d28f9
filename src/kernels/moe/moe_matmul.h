#pragma once
#include <span>

#include "device/matrix.h"
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// y[t * k + j, r] = sum over c of x_row[c] * experts[expert_ids[t, j]][r, c], where x_row is x[t] or x[t * k + j]
///   y           [num_tokens * k, rows]              f32, on GPUs also x's dtype
///   x           activations [num_tokens, cols]: one row for all experts of a token; or [num_tokens * k, cols]: one
///   each experts     matrices of one shape [rows, cols], any dtype that matmul takes; on GPUs at most 256 of one dtype
///   and
///               row stride
///   expert_ids  [num_tokens, k]                     i32, each below the number of experts
/// On CPUs one matmul over the tokens of an expert: a result depends on how many tokens share the expert as far as
/// matmul's does, and not on the threads. Throws kInternal naming the token whose expert does not exist.
/// On GPUs a result depends neither on the other tokens nor on who shares the expert, and weights are not rounded. Ids
/// are not checked: a row of y whose expert does not exist is not written.
void moe_matmul(const Stream& stream, Tensor y, ConstTensor x, std::span<const ConstMatrix> experts,
                ConstTensor expert_ids);

}  // namespace tandem
