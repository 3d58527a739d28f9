#include "weights/weight_source.h"

#include <algorithm>

#include "base/quote.h"
#include "weights/range_checks.h"

namespace tandem {
namespace {

constexpr std::size_t kPageBytes = 4096;                    // or a divisor of the system's page size
constexpr std::size_t kBytesAStep = std::size_t{16} << 20;  // between two reports of progress

void touch_bytes(const std::byte* begin, std::size_t bytes) {
  if (bytes == 0) return;
  const volatile std::byte* page = begin;
  for (std::size_t i = 0; i < bytes; i += kPageBytes) static_cast<void>(page[i]);
  static_cast<void>(page[bytes - 1]);
}

}  // namespace

void check_matrix_range(const TensorEntry& entry, const MatrixRange& range) {
  const int num_dims = entry.shape.num_dims();
  if (num_dims != 2 && num_dims != 3) {
    fail(ErrorKind::kBadFile, "{}: tensor {} has shape {}, but a matrix is needed", entry.file.string(),
         quote(entry.name), to_string(entry.shape));
  }
  const std::int64_t num_experts = num_dims == 3 ? entry.shape[0] : 1;
  const std::int64_t rows = entry.shape[num_dims - 2];
  const std::int64_t cols = entry.shape[num_dims - 1];
  const std::int64_t block = dtype_info(entry.dtype).block_size;
  const bool inside = 0 <= range.expert && range.expert < num_experts && 0 <= range.row_begin &&
                      range.row_begin <= range.row_end && range.row_end <= rows && 0 <= range.col_begin &&
                      range.col_begin <= range.col_end && range.col_end <= cols;
  TANDEM_CHECK(inside && range.col_begin % block == 0 && range.col_end % block == 0,
               "matrix {}, rows {} to {}, columns {} to {} of {}, {} {} in blocks of {}", range.expert, range.row_begin,
               range.row_end, range.col_begin, range.col_end, quote(entry.name), to_string(entry.dtype),
               to_string(entry.shape), block);
}

void check_vector_range(const TensorEntry& entry, std::int64_t begin, std::int64_t end) {
  if (entry.shape.num_dims() != 1 || !is_float(entry.dtype)) {
    fail(ErrorKind::kBadFile, "{}: tensor {} is {} {}, but a vector of f32, f16 or bf16 is needed", entry.file.string(),
         quote(entry.name), to_string(entry.dtype), to_string(entry.shape));
  }
  TANDEM_CHECK(0 <= begin && begin <= end && end <= entry.shape[0], "elements {} to {} of {} {}", begin, end,
               quote(entry.name), to_string(entry.shape));
}

void touch(const Stream& stream, const ConstMatrix& matrix, const std::function<void(std::size_t bytes)>& progress) {
  const std::size_t row_bytes = dtype_bytes(matrix.dtype, matrix.cols);
  if (matrix.rows == 0 || row_bytes == 0) return;
  const auto rows_of = [&](std::size_t bytes) { return static_cast<std::int64_t>(1 + bytes / row_bytes); };
  const std::int64_t rows_a_step = rows_of(kBytesAStep);
  for (std::int64_t step = 0; step < matrix.rows; step += rows_a_step) {
    const std::int64_t num_rows = std::min(rows_a_step, matrix.rows - step);
    stream.parallel_for(num_rows, rows_of(kBytesAStep / 64), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = step + begin; r < step + end; ++r) touch_bytes(matrix.row(r), row_bytes);
    });
    if (progress) progress(static_cast<std::size_t>(num_rows) * row_bytes);
  }
}

}  // namespace tandem
