#pragma once
// The sum at the heart of the CPU collectives.

#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace tandem {

/// outputs[k][i - first] = ((inputs[0][i] + inputs[1][i]) + ...) for i in [begin, end), the same in every output; an
/// output that holds only a part of the sum begins with element `first`, at most `begin`.
///   f32        added in f32, in the order of `inputs`
///   f16, bf16  added in f32, in that order, rounded once at the end
///   i32        modulo 2^32
/// An output may lie in an input, if element i is in both at the same place. One input: copied bit for bit.
void reduce_in_order(DType dtype, std::span<const void* const> inputs, std::span<void* const> outputs,
                     std::int64_t begin, std::int64_t end, std::int64_t first = 0);

}  // namespace tandem
