#pragma once
// Products of activations with weight matrices, plain or quantised.

#include <span>

#include "device/matrix.h"
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// One weight matrix and its result; several that share x (query, key and value; gate and up) make one call.
struct MatmulPart {
  Tensor y;          ///< [num_tokens, w.rows] f32, on GPUs also x's dtype; contiguous
  ConstMatrix w;     ///< any dtype that dequantise_row takes
  ConstTensor bias;  ///< [w.rows] f32, or empty (a default ConstTensor): none
};

/// y_p[t, r] = sum over c of x[t, c] * w_p[r, c] (+ bias_p[r]) for every part p
///   x        [num_tokens, cols]  activations, contiguous; cols is that of every part; y is not x
///   scratch  bytes of the stream's device, aligned to 256, which parts use one after the other: as many as
///            matmul_scratch_bytes says for the part that needs most
/// Sums in f32; x is never rounded, so shards of columns add up to the whole but for the order of the sum. A result
/// depends on the number of tokens and on the instruction set, not on the number of threads. NaN and Inf propagate.
/// Zero tokens, rows or columns are legal (no columns: y is the bias, or 0). Queued on `stream`, does not wait.
///
/// On GPUs: weights are f32, of x's dtype, or quantised; any for x of f32. For up to 16 tokens weights are not rounded,
/// a result does not depend on the number of tokens, nor on the other parts if all lie alike, and weights may be read
/// before the kernels queued earlier have ended: none of those may write them; Inf may become NaN where they are
/// quantised. For more, quantised weights are rounded to x's dtype, and a bias to y's; cuBLASLt multiplies where there
/// is one, or a slow kernel of ours.
void matmul(const Stream& stream, ConstTensor x, std::span<const MatmulPart> parts, Tensor scratch = {});

/// The same for one matrix.
void matmul(const Stream& stream, Tensor y, ConstTensor x, ConstMatrix w, ConstTensor bias = {}, Tensor scratch = {});

/// What a product of up to `num_tokens` tokens with `w` needs; only shape and dtype of w are read. 0 on CPUs.
std::size_t matmul_scratch_bytes(Device device, DType activations, std::int64_t num_tokens, const ConstMatrix& w);

/// Gets ready what products of many tokens need on the stream's device. Without it the first one does, which then must
/// not be recorded into a graph. Nothing to do on CPUs.
void prepare_matmul(const Stream& stream);

/// The definition: plain loops over dequantised rows, summed in double; y is rounded once. The oracle of the tests.
void matmul_cpu_reference(ConstTensor x, std::span<const MatmulPart> parts);

}  // namespace tandem
