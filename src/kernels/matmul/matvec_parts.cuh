#pragma once
// What the kernels of a MatvecTask share: which part a block belongs to, and the end of a result.

#include "kernels/elements.cuh"
#include "kernels/matmul/matvec_cuda.h"

namespace tandem {

/// Gives the parts blocks one behind the other, one for each `rows_of_block` rows; returns how many in all.
inline unsigned assign_blocks(MatvecTask& task, std::int64_t rows_of_block) {
  unsigned blocks = 0;
  for (int i = 0; i < task.num_parts; ++i) {
    task.parts[i].first_block = blocks;
    blocks += static_cast<unsigned>((task.parts[i].rows + rows_of_block - 1) / rows_of_block);
  }
  return blocks;
}

__device__ inline const MatvecPart& part_of_block(const MatvecTask& task) {
  int i = 0;
  while (i + 1 < task.num_parts && blockIdx.x >= task.parts[i + 1].first_block) ++i;
  return task.parts[i];
}

template <class T>
__device__ void store_result(const MatvecPart& part, std::int64_t row, std::int64_t token, float sum) {
  if (part.bias != nullptr) sum += part.bias[row];
  const std::int64_t place = token * part.rows + row;
  if (part.y_is_f32) {
    static_cast<float*>(part.y)[place] = sum;
  } else {
    static_cast<T*>(part.y)[place] = rounded<T>(sum);
  }
}

}  // namespace tandem
