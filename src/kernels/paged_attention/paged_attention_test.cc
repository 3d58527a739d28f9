#include "kernels/paged_attention/paged_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/paged_attention/attention_testing.h"

namespace tandem {
namespace {

using Problem = AttentionProblem;

// The definition, in double.
std::vector<double> oracle(const Problem& p) {
  std::vector<double> out(p.q.size());
  std::size_t row = 0;
  for (std::size_t s = 0; s < p.sequences.size(); ++s) {
    for (std::int32_t i = 0; i < p.sequences[s].queries; ++i, ++row) {
      const std::int64_t position = p.sequences[s].context - p.sequences[s].queries + i;
      const std::int64_t first = p.window > 0 ? std::max<std::int64_t>(0, position - p.window + 1) : 0;
      for (std::int64_t h = 0; h < p.q_heads; ++h) {
        const float* query = p.q.data() + (static_cast<std::int64_t>(row) * p.q_heads + h) * p.head_dim;
        const std::int64_t kv = h / (p.q_heads / p.kv_heads);
        std::vector<double> scores;
        for (std::int64_t j = first; j <= position; ++j) {
          double dot = 0;
          for (std::int64_t d = 0; d < p.head_dim; ++d) {
            dot += static_cast<double>(query[d]) * p.k[static_cast<std::size_t>(p.key_offset(s, j, kv) + d)];
          }
          dot *= p.scale;
          scores.push_back(p.softcap > 0 ? p.softcap * std::tanh(dot / p.softcap) : dot);
        }
        const double top = *std::max_element(scores.begin(), scores.end());
        double sum = 0;
        for (double& score : scores) sum += score = std::exp(score - top);
        double* to = out.data() + (static_cast<std::int64_t>(row) * p.q_heads + h) * p.head_dim;
        for (std::int64_t j = first; j <= position; ++j) {
          for (std::int64_t d = 0; d < p.head_dim; ++d) {
            to[d] += scores[static_cast<std::size_t>(j - first)] / sum *
                     p.v[static_cast<std::size_t>(p.key_offset(s, j, kv) + d)];
          }
        }
      }
    }
  }
  return out;
}

// Runs some of the sequences' queries: of sequence s, those of positions [begin, end).
struct Part {
  std::size_t sequence;
  std::int32_t begin, end;
};
std::vector<float> run_parts(const Stream& stream, const Problem& p, const std::vector<Part>& parts) {
  std::vector<float> q;
  std::vector<std::int32_t> query_begin{0}, context, table;
  for (const Part& part : parts) {
    std::int64_t row = 0;
    for (std::size_t s = 0; s < part.sequence; ++s) row += p.sequences[s].queries;
    row += part.begin - (p.sequences[part.sequence].context - p.sequences[part.sequence].queries);
    const std::int64_t width = p.q_heads * p.head_dim;
    q.insert(q.end(), p.q.begin() + row * width, p.q.begin() + (row + part.end - part.begin) * width);
    query_begin.push_back(query_begin.back() + part.end - part.begin);
    context.push_back(part.end);
    const auto pages = p.page_table.begin() + static_cast<std::int64_t>(part.sequence) * p.max_pages;
    table.insert(table.end(), pages, pages + p.max_pages);
  }
  const std::int64_t n = query_begin.back(), count = static_cast<std::int64_t>(parts.size());
  std::vector<float> out(q.size(), 7.0f);
  paged_attention(stream, tensor_of(out, {n, p.q_heads * p.head_dim}), tensor_of(q, {n, p.q_heads, p.head_dim}),
                  tensor_of(p.k, {p.num_pages, p.page_size, p.kv_heads, p.head_dim}),
                  tensor_of(p.v, {p.num_pages, p.page_size, p.kv_heads, p.head_dim}),
                  {.query_begin = tensor_of(query_begin, {count + 1}),
                   .context_len = tensor_of(context, {count}),
                   .page_table = tensor_of(table, {count, p.max_pages}),
                   .scale = p.scale,
                   .softcap = p.softcap,
                   .sliding_window = p.window,
                   .group_size = p.q_heads / p.kv_heads});
  return out;
}

std::vector<Part> whole(const Problem& p) {
  std::vector<Part> parts;
  for (std::size_t s = 0; s < p.sequences.size(); ++s) {
    parts.push_back({s, p.sequences[s].context - p.sequences[s].queries, p.sequences[s].context});
  }
  return parts;
}

// A score of size S = 6 head_dim / sqrt(head_dim) at most carries about S * eps * sqrt(head_dim) of rounding, which is
// the relative error of its weight; values are below 1.
double tolerance(const Problem& p) {
  return 6 * static_cast<double>(p.head_dim) * 0x1p-24 * 4;
}

const std::vector<Problem> kProblems = {
    {.sequences = {{1, 1}}},
    {.q_heads = 9, .kv_heads = 3, .sequences = {{40, 40}, {1, 300}, {7, 131}, {1, 129}, {0, 20}, {3, 256}}},
    {.q_heads = 4, .kv_heads = 4, .head_dim = 24, .page_size = 5, .sequences = {{33, 150}, {2, 2}}},
    {.q_heads = 4, .kv_heads = 1, .head_dim = 80, .page_size = 256, .sequences = {{50, 280}}},
    {.q_heads = 2, .kv_heads = 1, .head_dim = 48, .window = 20, .sequences = {{45, 190}, {1, 300}}},
    {.q_heads = 2, .kv_heads = 2, .head_dim = 16, .window = 1, .sequences = {{140, 140}}},
    {.q_heads = 3, .kv_heads = 1, .head_dim = 256, .window = 130, .softcap = 5.0f, .sequences = {{30, 170}, {1, 65}}},
    {.q_heads = 5, .kv_heads = 1, .head_dim = 8 * 13, .softcap = 50.0f, .sequences = {{9, 140}}},
};

TEST(PagedAttention, MatchesTheDefinitionInDouble) {
  const Stream stream = Stream::cpu(2);
  for (std::size_t i = 0; i < kProblems.size(); ++i) {
    SCOPED_TRACE(i);
    const Problem p = kProblems[i].make();
    const std::vector<double> expected = oracle(p);
    for_each_isa([&] { expect_near(run_parts(stream, p, whole(p)), expected, tolerance(p), 0); });
  }
}

TEST(PagedAttention, BitsDependNeitherOnBatchNorOnThreads) {
  const Stream one = Stream::cpu(1), three = Stream::cpu(3);
  for_each_isa([&] {
    for (std::size_t i = 0; i < kProblems.size(); ++i) {
      SCOPED_TRACE(i);
      const Problem p = kProblems[i].make();
      const std::vector<float> batch = run_parts(one, p, whole(p));
      EXPECT_TRUE(same_bits(batch, run_parts(three, p, whole(p)))) << "three threads";
      // Every query as a decode step of its own, with one thread and cut in tiles for three.
      for (const Stream* stream : {&one, &three}) {
        std::vector<float> single, chunks;
        for (const Part& part : whole(p)) {
          for (std::int32_t t = part.begin; t < part.end; ++t) {
            const std::vector<float> row = run_parts(*stream, p, {{part.sequence, t, t + 1}});
            single.insert(single.end(), row.begin(), row.end());
          }
          const std::int32_t cut = part.begin + (part.end - part.begin) / 3;
          const std::vector<float> rows =
              run_parts(*stream, p, {{part.sequence, part.begin, cut}, {part.sequence, cut, part.end}});
          chunks.insert(chunks.end(), rows.begin(), rows.end());
        }
        EXPECT_TRUE(same_bits(batch, single)) << "one by one";
        EXPECT_TRUE(same_bits(batch, chunks)) << "in two chunks";
      }
    }
  });
}

TEST(PagedAttention, RanksHoldAnySliceOfHeadsAndZeroForeignColumns) {
  const Stream stream = Stream::cpu(2);
  const Problem p = Problem{.q_heads = 12, .kv_heads = 4, .head_dim = 24, .sequences = {{20, 150}, {1, 140}}}.make();
  const std::int64_t n = p.num_queries, d = p.head_dim, group = 3;
  const std::vector<float> all = run_parts(stream, p, whole(p));
  std::vector<std::int32_t> query_begin{0, 20, 21}, context{150, 140};
  for (const auto& [begin, end] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 2}, {2, 7}, {7, 8}, {8, 12}, {5, 5}}) {
    SCOPED_TRACE(begin);
    // One kv head more on either side than needed, where there is one.
    const std::int64_t kv_begin = std::max<std::int64_t>(0, begin / group - 1);
    const std::int64_t kv_end = std::min(p.kv_heads, (end + group - 1) / group + 1), kv_heads = kv_end - kv_begin;
    std::vector<float> q, k, v;
    for (std::int64_t t = 0; t < n; ++t) {
      q.insert(q.end(), p.q.begin() + (t * 12 + begin) * d, p.q.begin() + (t * 12 + end) * d);
    }
    for (std::int64_t slot = 0; slot < p.num_pages * p.page_size; ++slot) {
      k.insert(k.end(), p.k.begin() + (slot * 4 + kv_begin) * d, p.k.begin() + (slot * 4 + kv_end) * d);
      v.insert(v.end(), p.v.begin() + (slot * 4 + kv_begin) * d, p.v.begin() + (slot * 4 + kv_end) * d);
    }
    const std::int64_t before = 8, cols = before + (end - begin) * d + 16;
    std::vector<float> out(static_cast<std::size_t>(n * cols), std::numeric_limits<float>::quiet_NaN());
    paged_attention(stream, tensor_of(out, {n, cols}), tensor_of(q, {n, end - begin, d}),
                    tensor_of(k, {p.num_pages, p.page_size, kv_heads, d}),
                    tensor_of(v, {p.num_pages, p.page_size, kv_heads, d}),
                    {.query_begin = tensor_of(query_begin, {3}),
                     .context_len = tensor_of(context, {2}),
                     .page_table = tensor_of(p.page_table, {2, p.max_pages}),
                     .scale = p.scale,
                     .group_size = group,
                     .first_query_head = begin,
                     .first_kv_head = kv_begin,
                     .out_col_begin = before});
    std::vector<float> expected(out.size(), 0.0f);
    for (std::int64_t t = 0; t < n; ++t) {
      std::copy(all.begin() + (t * 12 + begin) * d, all.begin() + (t * 12 + end) * d,
                expected.begin() + t * cols + before);
    }
    EXPECT_TRUE(same_bits(out, expected));
  }
}

TEST(PagedAttention, WhatAQueryDoesNotSeeHasNoInfluence) {
  const Stream stream = Stream::cpu(1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for_each_isa([&] {
    Problem p = Problem{.q_heads = 2, .kv_heads = 1, .window = 50, .sequences = {{60, 200}}}.make();
    const std::vector<float> clean = run_parts(stream, p, whole(p));
    // Foreign pages, the slots past the end, and what the window has left behind.
    for (std::int64_t slot = 0; slot < p.page_size; ++slot) p.k[static_cast<std::size_t>(slot * p.head_dim)] = nan;
    for (std::int64_t position = 200; position < 208; ++position) {
      p.v[static_cast<std::size_t>(p.key_offset(0, position, 0))] = nan;
    }
    for (std::int64_t position = 0; position < 91; ++position) {
      p.k[static_cast<std::size_t>(p.key_offset(0, position, 0) + 5)] = nan;
      p.v[static_cast<std::size_t>(p.key_offset(0, position, 0) + 5)] = nan;
    }
    EXPECT_TRUE(same_bits(clean, run_parts(stream, p, whole(p))));
    // A key that later queries see poisons those and no earlier one.
    p.k[static_cast<std::size_t>(p.key_offset(0, 160, 0))] = nan;
    p.v[static_cast<std::size_t>(p.key_offset(0, 160, 0) + 3)] = nan;
    const std::vector<float> poisoned = run_parts(stream, p, whole(p));
    for (std::size_t i = 0; i < clean.size(); ++i) {
      if (i / 128 < 20) {
        ASSERT_EQ(clean[i], poisoned[i]) << i;
      } else {
        ASSERT_TRUE(std::isnan(poisoned[i])) << i;
      }
    }
  });
}

TEST(PagedAttention, NothingToDoIsLegal) {
  const Stream stream = Stream::cpu(2);
  const Problem p = Problem{.sequences = {{0, 5}}}.make();
  EXPECT_TRUE(run_parts(stream, p, whole(p)).empty());
  EXPECT_TRUE(run_parts(stream, p, {}).empty());
}

TEST(PagedAttention, RefusesArgumentsThatContradictEachOther) {
  const Stream stream = Stream::cpu(1);
  const Problem good = Problem{.sequences = {{3, 40}}}.make();
  Problem bad = good;
  bad.page_table[1] = static_cast<std::int32_t>(bad.num_pages);
  EXPECT_THROW(run_parts(stream, bad, whole(bad)), Error);
  bad = good;
  bad.page_table[2] = -1;
  EXPECT_THROW(run_parts(stream, bad, whole(bad)), Error);
}

}  // namespace
}  // namespace tandem
