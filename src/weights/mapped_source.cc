#include "weights/mapped_source.h"

#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "weights/range_checks.h"

namespace tandem {
namespace {

/// Alignment that LoadedMatrix promises. A quantised block starts with a 16-bit scale or is an array of such blocks.
std::size_t element_alignment(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kU8:
      return 1;
    default:
      return 2;
  }
}

/// Compact copy of a matrix whose place in the file is not aligned.
LoadedMatrix copy_matrix(const Stream& stream, const ConstMatrix& from) {
  const std::size_t row_bytes = dtype_bytes(from.dtype, from.cols);
  Buffer storage(stream.device(), from.bytes());
  std::byte* to = static_cast<std::byte*>(storage.data());
  stream.parallel_for(from.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      std::memcpy(to + static_cast<std::size_t>(r) * row_bytes, from.row(r), row_bytes);
    }
  });
  ConstMatrix matrix = from;
  matrix.data = to;
  matrix.row_stride = row_bytes;
  return {matrix, std::move(storage)};
}

}  // namespace

LoadedMatrix MappedSource::load_matrix(const Stream& stream, const TensorEntry& entry, const MatrixRange& range) const {
  check_matrix_range(entry, range);
  TANDEM_CHECK(stream.device().is_cpu(), "stream on {}", to_string(stream.device()));
  const std::int64_t rows = entry.shape[entry.shape.num_dims() - 2];
  const std::int64_t cols = entry.shape[entry.shape.num_dims() - 1];
  const ConstMatrix whole{.data = entry.data + dtype_bytes(entry.dtype, range.expert * rows * cols),
                          .dtype = entry.dtype,
                          .rows = rows,
                          .cols = cols,
                          .row_stride = dtype_bytes(entry.dtype, cols),
                          .device = stream.device()};
  const ConstMatrix part = whole.slice(range.row_begin, range.row_end, range.col_begin, range.col_end);
  const bool aligned = reinterpret_cast<std::uintptr_t>(part.data) % element_alignment(entry.dtype) == 0;
  if (aligned || part.bytes() == 0) return {part, {}};
  return copy_matrix(stream, part);
}

OwnedTensor MappedSource::load_vector(const Stream& stream, const TensorEntry& entry, std::int64_t begin,
                                      std::int64_t end) const {
  check_vector_range(entry, begin, end);
  TANDEM_CHECK(stream.device().is_cpu(), "stream on {}", to_string(stream.device()));
  OwnedTensor vector(stream.device(), DType::kF32, {end - begin});
  float* out = vector.tensor.data<float>();
  dispatch_float(entry.dtype, [&]<class T>() {
    for (std::int64_t i = begin; i < end; ++i) {
      T element;
      std::memcpy(&element, entry.data + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));  // at any alignment
      out[i - begin] = to_float(element);
    }
  });
  return vector;
}

}  // namespace tandem
