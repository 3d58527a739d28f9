#pragma once
// What both ways of paged_attention share in device code.

#include "kernels/instructions.cuh"
#include "kernels/paged_attention/attention_plan.h"
#include "kernels/paged_attention/paged_attention_cuda.h"

namespace tandem {

/// Dot products become scores.
template <int kCount>
__device__ void to_scores(const PagedAttentionCuda& p, float (&x)[kCount]) {
  if (p.score_cap > 0) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) x[i] = p.score_cap * tanhf(x[i] * p.score_scale);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) x[i] *= p.score_scale;
  }
}

/// The row of the cache, a key of one token, where the key at `position` of a sequence lies.
__device__ inline int row_of_key(const PagedAttentionCuda& p, std::int64_t sequence, int position) {
  const auto page_size = static_cast<unsigned>(p.page_size), at = static_cast<unsigned>(position);
  const int page = p.page_table[sequence * p.max_pages + at / page_size];
  return static_cast<int>(static_cast<unsigned>(page) * page_size + at % page_size);
}

}  // namespace tandem
