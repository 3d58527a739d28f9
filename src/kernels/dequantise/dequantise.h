#pragma once
// Weights of any dtype as fp32: the meaning of every quantised block format.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "device/matrix.h"
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// out[0, count) = the first `count` elements of the run of blocks at `blocks`; count is a multiple of the block size.
/// Plain loops, any alignment of `blocks`. dtype is F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K.
/// NaN and Inf scales propagate. Formats: ggml's quantisation blocks, as PyPI's `gguf` (quants.py) defines them.
void dequantise_row(float* out, const std::byte* blocks, DType dtype, std::int64_t count);

/// Throws kInternal naming `what` unless `w` lies on the stream's GPU at addresses that kernels can read: aligned to an
/// element, or for quantised blocks to 4 bytes where their size is a multiple of 4, else to 2.
void check_weights(std::string_view what, const Stream& stream, const ConstMatrix& w);

/// out[r, c] = w[r, c]
///   out  [w.rows, w.cols]  activations, contiguous
///   w    any dtype that dequantise_row takes
/// The bits of dequantise_row, on GPUs rounded to nearest even to the dtype of `out`.
/// Queued on `stream`, does not wait.
void dequantise(const Stream& stream, Tensor out, ConstMatrix w);

}  // namespace tandem
