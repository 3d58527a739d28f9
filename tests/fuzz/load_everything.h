#pragma once
// For the fuzzers of weight files: reads every tensor that the parser let through, in whole and in part.

#include "base/error.h"
#include "weights/mapped_source.h"

namespace tandem::fuzz {

inline void load_everything(TensorCatalogue catalogue) {
  static const Stream stream = Stream::cpu(1);
  const MappedSource source(std::move(catalogue), nullptr);
  for (const TensorEntry& entry : source.catalogue().entries()) {
    TANDEM_CHECK(source.catalogue().find(entry.name) == &entry, "{}", entry.name);
    TANDEM_CHECK(dtype_bytes(entry.dtype, entry.shape.num_elements()) == entry.bytes, "{}", entry.name);
    const int num_dims = entry.shape.num_dims();
    if (num_dims == 1 && is_float(entry.dtype)) source.load_vector(stream, entry, 0, entry.shape[0]);
    if ((num_dims != 2 && num_dims != 3) || (num_dims == 3 && entry.shape[0] == 0)) continue;
    const std::int64_t rows = entry.shape[num_dims - 2];
    const std::int64_t cols = entry.shape[num_dims - 1];
    const std::int64_t block = dtype_info(entry.dtype).block_size;
    MatrixRange range{.row_end = rows, .col_end = cols};
    if (num_dims == 3) range.expert = entry.shape[0] - 1;
    if (entry.bytes != 0) touch(stream, source.load_matrix(stream, entry, range).matrix, {});
    range.row_begin = rows / 2;
    range.col_begin = cols / block / 2 * block;
    if (entry.bytes != 0) touch(stream, source.load_matrix(stream, entry, range).matrix, {});
  }
}

}  // namespace tandem::fuzz
