#pragma once
// Rows of weights against a few tokens, one implementation an instruction set.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "device/matrix.h"

namespace tandem {

/// One token's x in the order, and in the form, in which the products of a dtype take it.
struct ArrangedX {
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> values;
  std::vector<float> sums;  ///< pairs, one a block of 32
};

/// y[t * y_stride + r] = bias[r] + sum over c of x[t * w.cols + c] * w[r, c] for the rows [row_begin, row_end)
struct RowTask {
  const ConstMatrix* w = nullptr;
  std::int64_t row_begin = 0, row_end = 0;
  const float* x = nullptr;
  int num_tokens = 0;  ///< 1 to max_tokens
  float* y = nullptr;
  std::int64_t y_stride = 0;
  const float* bias = nullptr;          ///< null: none
  const ArrangedX* arranged = nullptr;  ///< of x for w's dtype, if it is the only token
};

struct RowKernels {
  std::string_view name;  ///< "avx512-vnni" | "avx512" | "avx2" | "plain"
  int max_tokens;
  /// For one token: once for all rows, since every share of them needs it. May leave `out` as it is.
  void (*arrange)(const float* x, std::int64_t cols, DType dtype, ArrangedX& out);
  /// The order of a row's sum depends on dtype and cols only.
  void (*dot)(const RowTask& task);
  /// As dequantise_row, with the same bits.
  void (*decode)(float* out, const std::byte* row, DType dtype, std::int64_t count);
};

/// Those that this machine can run, fastest first; the last is "plain" and runs anywhere.
std::span<const RowKernels> row_kernels();

}  // namespace tandem
