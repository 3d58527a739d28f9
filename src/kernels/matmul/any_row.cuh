#pragma once
// The product of one row of weights with a few tokens, by a block whose threads take turns along the columns: any
// dtype, any address. For routers of f32, activations of f32, and rows that are not in whole 16 bytes.

#include "kernels/dequantise/quads.h"
#include "kernels/elements.cuh"

namespace tandem {

constexpr int kRowThreads = 128;
constexpr int kRowWarps = kRowThreads / 32;

/// Rows of W, a float type; a thread takes an element at a time.
template <class W>
struct PlainRow {
  static constexpr int kElements = 1;
  __device__ static void load(const std::uint8_t* row, std::int64_t i, float (&values)[kElements],
                              std::int64_t (&cols)[kElements]) {
    values[0] = as_float(reinterpret_cast<const W*>(row)[i]);
    cols[0] = i;
  }
};

/// Rows of blocks; a thread takes the quads of a lane.
template <DType kType>
struct QuadRow {
  static constexpr int kElements = 8;
  __device__ static void load(const std::uint8_t* row, std::int64_t i, float (&values)[kElements],
                              std::int64_t (&cols)[kElements]) {
    const std::int64_t step = i / kLanesOfStep;
    const int t = static_cast<int>(i % kLanesOfStep);
    const Quads quads = unpack_quads<kType>(load_quads<kType>(row, step, t), step, t);
#pragma unroll
    for (int k = 0; k < kElements; ++k) {
      values[k] = quad_value<kType>(quads, k / 4, k % 4);
      cols[k] = step * kStepCols + quad_col(t, k / 4, k % 4);
    }
  }
};

/// Calls store(token, sum) once for each of `num_tokens` tokens, at most kTokens, that lie at x one behind the other.
/// All threads of the block call it, again only after a __syncthreads(). The order of a sum depends on cols only.
template <class T, class Row, int kTokens, class Store>
__device__ void multiply_row(const std::uint8_t* w, const T* x, std::int64_t cols, int num_tokens, const Store& store) {
  __shared__ float warp_sums[kRowWarps][kTokens];
  float sums[kTokens] = {};
#pragma unroll(kTokens == 1 ? 8 : 1)
  for (std::int64_t i = threadIdx.x; i < cols / Row::kElements; i += kRowThreads) {
    float values[Row::kElements];
    std::int64_t places[Row::kElements];
    Row::load(w, i, values, places);
#pragma unroll
    for (int n = 0; n < kTokens; ++n) {
      if (n >= num_tokens) break;
#pragma unroll
      for (int k = 0; k < Row::kElements; ++k) sums[n] += values[k] * as_float(x[n * cols + places[k]]);
    }
  }
#pragma unroll
  for (int n = 0; n < kTokens; ++n) {
    const float sum = warp_sum(sums[n]);
    if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32][n] = sum;
  }
  __syncthreads();
  const int n = static_cast<int>(threadIdx.x);
  if (n < kTokens && n < num_tokens) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kRowWarps; ++i) sum += warp_sums[i][n];
    store(n, sum);
  }
}

/// dispatch_any_row(x_dtype, w_dtype, [&]<class T, class Row>() { return launch(...); }): any weights for x of f32,
/// those of f32 or of x's dtype for others.
template <class Body>
cudaError_t dispatch_any_row(DType x_dtype, DType w_dtype, const Body& body) {
  return dispatch_activation(x_dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, float>) {
      if (is_quantised(w_dtype)) {
        return dispatch_quantised(
            w_dtype, [&]<DType kType>() { return body.template operator()<T, QuadRow<kType>>(); },
            cudaErrorInvalidValue);
      }
      return dispatch_activation(w_dtype, [&]<class W>() { return body.template operator()<T, PlainRow<W>>(); });
    } else {
      if (w_dtype == DType::kF32) return body.template operator()<T, PlainRow<float>>();
      return w_dtype == x_dtype ? body.template operator()<T, PlainRow<T>>() : cudaErrorInvalidValue;
    }
  });
}

}  // namespace tandem
