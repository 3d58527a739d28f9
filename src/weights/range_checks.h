#pragma once
// What every source checks before it hands out a part of a tensor. Internal to weights/.

#include <cstdint>

#include "weights/weight_source.h"

namespace tandem {

/// Throws kBadFile when the tensor is neither 2-D nor 3-D, kInternal when the range is not inside it or not on blocks.
void check_matrix_range(const TensorEntry& entry, const MatrixRange& range);
/// Throws kBadFile when the tensor is no 1-D float tensor, kInternal when the range is not inside it.
void check_vector_range(const TensorEntry& entry, std::int64_t begin, std::int64_t end);

}  // namespace tandem
