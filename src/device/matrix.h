#pragma once
// A weight matrix as it lies in memory: any dtype, quantised blocks included, rows at a stride. A view; owns nothing.

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "base/error.h"
#include "device/device.h"

namespace tandem {

/// Element (r, c) is element c of the run of blocks that starts at data + r * row_stride.
/// A shard of columns is the same matrix with fewer columns and the old stride; it starts and ends on whole blocks.
struct ConstMatrix {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;       ///< a multiple of the dtype's block size
  std::size_t row_stride = 0;  ///< bytes from one row to the next, at least the bytes of `cols` elements
  Device device;

  const std::byte* row(std::int64_t r) const { return static_cast<const std::byte*>(data) + r * row_stride; }
  /// Bytes that a full read of the matrix touches, gaps between rows not counted.
  std::size_t bytes() const { return static_cast<std::size_t>(rows) * dtype_bytes(dtype, cols); }
  /// Rows [row_begin, row_end) and columns [col_begin, col_end); columns on whole blocks (checked).
  ConstMatrix slice(std::int64_t row_begin, std::int64_t row_end, std::int64_t col_begin, std::int64_t col_end) const {
    TANDEM_CHECK(0 <= row_begin && row_begin <= row_end && row_end <= rows, "rows {} to {} of {}", row_begin, row_end,
                 rows);
    TANDEM_CHECK(0 <= col_begin && col_begin <= col_end && col_end <= cols, "columns {} to {} of {}", col_begin,
                 col_end, cols);
    ConstMatrix part = *this;
    part.data = row(row_begin) + dtype_bytes(dtype, col_begin);
    part.rows = row_end - row_begin;
    part.cols = col_end - col_begin;
    return part;
  }
};

}  // namespace tandem
