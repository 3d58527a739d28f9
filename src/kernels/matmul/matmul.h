#pragma once
// Products of activations with weight matrices, plain or quantised.

#include <span>

#include "device/matrix.h"
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// One weight matrix and its result; several that share x (query, key and value; gate and up) make one call.
struct MatmulPart {
  Tensor y;          ///< [num_tokens, w.rows] f32, contiguous
  ConstMatrix w;     ///< any dtype that dequantise_row takes
  ConstTensor bias;  ///< [w.rows] f32, or empty (a default ConstTensor): none
};

/// y_p[t, r] = sum over c of x[t, c] * w_p[r, c] (+ bias_p[r]) for every part p
///   x  [num_tokens, cols]  f32, contiguous; cols is that of every part; y is not x
/// Sums in f32; x is never rounded, so shards of columns add up to the whole but for the order of the sum. A result
/// depends on the number of tokens and on the instruction set, not on the number of threads. NaN and Inf propagate.
/// Zero tokens, rows or columns are legal (no columns: y is the bias, or 0). Queued on `stream`, does not wait.
void matmul(const Stream& stream, ConstTensor x, std::span<const MatmulPart> parts);

/// The same for one matrix.
void matmul(const Stream& stream, Tensor y, ConstTensor x, ConstMatrix w, ConstTensor bias = {});

/// The definition: plain loops over dequantised rows, summed in double; y is rounded once. The oracle of the tests.
void matmul_cpu_reference(ConstTensor x, std::span<const MatmulPart> parts);

}  // namespace tandem
