#pragma once
// Problems for the tests of paged_attention.

#include <algorithm>
#include <cmath>

#include "kernels/testing.h"

namespace tandem {

/// The last `queries` of its `context` tokens are new.
struct AttentionSequence {
  std::int32_t queries;
  std::int32_t context;
};

/// A whole problem with the model's heads; ranks and batches are parts of it.
struct AttentionProblem {
  std::int64_t q_heads = 6, kv_heads = 2, head_dim = 64, page_size = 16;
  std::int32_t window = 0;
  float softcap = 0.0f;
  std::vector<AttentionSequence> sequences;
  // Filled by make():
  float scale = 0;
  std::int64_t num_pages = 0, max_pages = 0, num_queries = 0;
  std::vector<float> q, k, v;
  std::vector<std::int32_t> page_table;

  AttentionProblem make(std::uint32_t seed = 1) const {
    AttentionProblem p = *this;
    p.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    for (const AttentionSequence& s : sequences) {
      p.max_pages = std::max(p.max_pages, (s.context + page_size - 1) / page_size);
      p.num_queries += s.queries;
    }
    // Pages are dealt out from the back, one sequence after the other by turns, so that none lie in order.
    p.page_table.assign(sequences.size() * static_cast<std::size_t>(p.max_pages), -1);
    std::int32_t next = 0;
    for (std::int64_t page = 0; page < p.max_pages; ++page) {
      for (std::size_t s = 0; s < sequences.size(); ++s) {
        if (page * page_size < sequences[s].context) {
          p.page_table[s * static_cast<std::size_t>(p.max_pages) + static_cast<std::size_t>(page)] = next++;
        }
      }
    }
    p.num_pages = next + 1;
    for (std::int32_t& page : p.page_table) {
      if (page >= 0) page = next - page;
    }
    p.q = random_values(p.num_queries * q_heads * head_dim, seed, 3.0f);
    p.k = random_values(p.num_pages * page_size * kv_heads * head_dim, seed + 1, 2.0f);
    p.v = random_values(p.num_pages * page_size * kv_heads * head_dim, seed + 2);
    return p;
  }
  std::int64_t key_offset(std::size_t s, std::int64_t position, std::int64_t kv_head) const {
    const std::int64_t page =
        page_table[s * static_cast<std::size_t>(max_pages) + static_cast<std::size_t>(position / page_size)];
    return ((page * page_size + position % page_size) * kv_heads + kv_head) * head_dim;
  }
};

}  // namespace tandem
