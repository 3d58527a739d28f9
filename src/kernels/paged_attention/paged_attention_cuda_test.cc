#include <limits>

#include "kernels/cuda_testing.h"
#include "kernels/paged_attention/attention_plan.h"
#include "kernels/paged_attention/attention_testing.h"
#include "kernels/paged_attention/paged_attention.h"

namespace tandem {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Of some sequences of a problem, the queries [begin, end) by position.
struct Part {
  std::size_t sequence;
  std::int32_t begin, end;
};

std::vector<Part> whole(const AttentionProblem& p) {
  std::vector<Part> parts;
  for (std::size_t s = 0; s < p.sequences.size(); ++s) {
    parts.push_back({s, p.sequences[s].context - p.sequences[s].queries, p.sequences[s].context});
  }
  return parts;
}

struct Batch {
  std::vector<float> q;
  std::vector<std::int32_t> query_begin{0}, context_len, page_table;

  Batch(const AttentionProblem& p, const std::vector<Part>& parts) {
    for (const Part& part : parts) {
      std::int64_t row = 0;
      for (std::size_t s = 0; s < part.sequence; ++s) row += p.sequences[s].queries;
      row += part.begin - (p.sequences[part.sequence].context - p.sequences[part.sequence].queries);
      const std::int64_t width = p.q_heads * p.head_dim;
      q.insert(q.end(), p.q.begin() + row * width, p.q.begin() + (row + part.end - part.begin) * width);
      query_begin.push_back(query_begin.back() + part.end - part.begin);
      context_len.push_back(part.end);
      const auto pages = p.page_table.begin() + static_cast<std::int64_t>(part.sequence) * p.max_pages;
      page_table.insert(page_table.end(), pages, pages + p.max_pages);
    }
  }
  std::int64_t num_queries() const { return query_begin.back(); }
  std::int64_t num_sequences() const { return static_cast<std::int64_t>(context_len.size()); }
};

// A problem whose values are those of the dtype, as the CPU sees it and on the GPU.
class CudaProblem {
 public:
  CudaProblem(const CudaRig& rig, DType dtype, const AttentionProblem& problem)
      : p(rounded(dtype, problem)),
        rig_(rig),
        dtype_(dtype),
        k_(rig.upload(p.k, dtype, pages())),
        v_(rig.upload(p.v, dtype, pages())),
        scratch_(zeroed(rig, p)) {}

  std::vector<float> run(const std::vector<Part>& parts) const {
    const Batch batch(p, parts);
    const OwnedTensor out = rig_.unwritten(dtype_, {batch.num_queries(), p.q_heads * p.head_dim});
    const OwnedTensor q = rig_.upload(batch.q, dtype_, {batch.num_queries(), p.q_heads, p.head_dim});
    const OwnedTensor begin = rig_.upload(batch.query_begin, {batch.num_sequences() + 1});
    const OwnedTensor context = rig_.upload(batch.context_len, {batch.num_sequences()});
    const OwnedTensor table = rig_.upload(batch.page_table, {batch.num_sequences(), p.max_pages});
    run(out.tensor, q.tensor, begin.tensor, context.tensor, table.tensor);
    return rig_.download(out.tensor);
  }
  void run(Tensor out, ConstTensor q, ConstTensor query_begin, ConstTensor context_len, ConstTensor page_table) const {
    PagedAttentionArgs args = options(p);
    args.query_begin = query_begin;
    args.context_len = context_len;
    args.page_table = page_table;
    args.scratch = scratch_.tensor;
    paged_attention(rig_.stream(), out, q, k_.tensor, v_.tensor, args);
  }
  std::vector<float> run_on_cpu(const std::vector<Part>& parts) const {
    const Batch batch(p, parts);
    std::vector<float> out(batch.q.size());
    PagedAttentionArgs args = options(p);
    args.query_begin = tensor_of(batch.query_begin, {batch.num_sequences() + 1});
    args.context_len = tensor_of(batch.context_len, {batch.num_sequences()});
    args.page_table = tensor_of(batch.page_table, {batch.num_sequences(), p.max_pages});
    paged_attention(Stream::cpu(4), tensor_of(out, {batch.num_queries(), p.q_heads * p.head_dim}),
                    tensor_of(batch.q, {batch.num_queries(), p.q_heads, p.head_dim}), tensor_of(p.k, pages()),
                    tensor_of(p.v, pages()), args);
    return out;
  }
  void expect_as_on_cpu(const std::vector<Part>& parts) const {
    const std::vector<float> actual = run(parts), expected = run_on_cpu(parts);
    expect_near(actual, {expected.begin(), expected.end()}, tolerance(), 0.5 * epsilon_of(dtype_));
  }
  // Scores as in paged_attention_test.cc, on both sides; then each weight is rounded, and values are below 1.
  double tolerance() const {
    return 2 * 6 * static_cast<double>(p.head_dim) * 0x1p-24 * 4 +
           (dtype_ == DType::kF32 ? 0.0 : 0.5 * epsilon_of(dtype_));
  }
  Shape pages() const { return {p.num_pages, p.page_size, p.kv_heads, p.head_dim}; }

  static PagedAttentionArgs options(const AttentionProblem& p) {
    return {.scale = p.scale, .softcap = p.softcap, .sliding_window = p.window, .group_size = p.q_heads / p.kv_heads};
  }
  static OwnedTensor zeroed(const CudaRig& rig, const AttentionProblem& p) {
    const auto bytes = static_cast<std::int64_t>(
        paged_attention_scratch_bytes(p.num_queries, p.q_heads, p.kv_heads, p.head_dim, p.q_heads / p.kv_heads));
    OwnedTensor scratch(rig.device(), DType::kU8, {bytes});
    const std::vector<std::byte> zeros(static_cast<std::size_t>(bytes));
    cuda::copy(rig.stream().cuda_handle(), scratch.tensor.raw(), zeros.data(), zeros.size());
    rig.stream().synchronize();
    return scratch;
  }

  const AttentionProblem p;

 private:
  static AttentionProblem rounded(DType dtype, AttentionProblem p) {
    p.q = rounded_to(dtype, std::move(p.q));
    p.k = rounded_to(dtype, std::move(p.k));
    p.v = rounded_to(dtype, std::move(p.v));
    return p;
  }
  const CudaRig& rig_;
  DType dtype_;
  OwnedTensor k_, v_, scratch_;
};

const std::vector<AttentionSequence> kDecodes{{1, 1}, {1, 7}, {1, 100}, {1, 513}, {1, 3000}, {2, 64}, {0, 20}};
const std::vector<AttentionSequence> kPrefills{{1, 1},    {7, 7},  {100, 100}, {33, 513},
                                               {1, 3000}, {0, 20}, {130, 700}, {1, 100}};

class PagedAttentionCudaHeads : public testing::TestWithParam<std::int64_t> {};

TEST_P(PagedAttentionCudaHeads, MatchesTheCpuTwin) {
  const CudaRig rig;
  for (const std::int64_t group : {1, 4, 7}) {
    for (const std::int64_t page_size : {1, 16, 256}) {
      for (const bool prefill : {false, true}) {
        const AttentionProblem p = AttentionProblem{.q_heads = 2 * group,
                                                    .head_dim = GetParam(),
                                                    .page_size = page_size,
                                                    .sequences = prefill ? kPrefills : kDecodes}
                                       .make();
        ASSERT_EQ(is_decode(p.num_queries, static_cast<std::int64_t>(p.sequences.size())), !prefill);
        for (const DType dtype : kActivationTypes) {
          SCOPED_TRACE(format("groups of {}, pages of {}, {}, {}", group, page_size, prefill ? "prefill" : "decode",
                              to_string(dtype)));
          CudaProblem(rig, dtype, p).expect_as_on_cpu(whole(p));
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(HeadDims, PagedAttentionCudaHeads, testing::Values(16, 24, 64, 80, 128, 192, 256));

TEST(PagedAttentionCuda, WindowSoftcapAndManyHeadsMatchTheCpuTwin) {
  const CudaRig rig;
  const AttentionProblem kProblems[] = {
      {.q_heads = 4, .kv_heads = 2, .head_dim = 48, .window = 20, .sequences = {{1, 190}, {1, 19}, {2, 3000}}},
      {.q_heads = 4, .kv_heads = 2, .head_dim = 48, .window = 20, .sequences = {{45, 190}, {1, 300}, {30, 30}}},
      {.q_heads = 2, .kv_heads = 2, .head_dim = 16, .window = 1, .sequences = {{1, 140}}},
      {.q_heads = 2, .kv_heads = 2, .head_dim = 16, .window = 1, .sequences = {{140, 140}}},
      {.q_heads = 3, .kv_heads = 1, .head_dim = 256, .window = 700, .softcap = 5.0f, .sequences = {{1, 3000}, {1, 65}}},
      {.q_heads = 3, .kv_heads = 1, .head_dim = 256, .window = 130, .softcap = 5.0f, .sequences = {{90, 400}, {1, 65}}},
      {.q_heads = 5, .kv_heads = 1, .head_dim = 8 * 13, .softcap = 50.0f, .sequences = {{9, 140}}},
      {.q_heads = 5, .kv_heads = 1, .head_dim = 8 * 13, .softcap = 50.0f, .sequences = {{19, 140}}},
      {.q_heads = 71, .kv_heads = 1, .head_dim = 64, .sequences = {{1, 513}, {3, 40}}},  // more than a unit has
      // Few splits with many tiles a warp, also with values that are loaded after the scores.
      {.q_heads = 40, .kv_heads = 40, .head_dim = 24, .sequences = {{1, 3000}, {1, 700}}},
      {.q_heads = 64, .kv_heads = 32, .head_dim = 136, .page_size = 1, .sequences = {{1, 2000}}},
      {.q_heads = 142, .kv_heads = 2, .head_dim = 64, .sequences = {{21, 90}}},
  };
  for (std::size_t i = 0; i < std::size(kProblems); ++i) {
    const AttentionProblem p = kProblems[i].make();
    for (const DType dtype : kActivationTypes) {
      SCOPED_TRACE(format("problem {}, {}", i, to_string(dtype)));
      CudaProblem(rig, dtype, p).expect_as_on_cpu(whole(p));
    }
  }
}

TEST(PagedAttentionCuda, BitsDependNeitherOnTheBatchNorOnChunks) {
  const CudaRig rig;
  for (const DType dtype : kActivationTypes) {
    SCOPED_TRACE(to_string(dtype));
    // A unit's splits alone in a launch, shared among fewer blocks, and all in one block.
    AttentionProblem decodes{.q_heads = 8, .kv_heads = 8, .head_dim = 64};
    for (std::int32_t s = 0; s < 70; ++s) decodes.sequences.push_back({1, 200 + 37 * s});
    const CudaProblem d(rig, dtype, decodes.make());
    const std::vector<Part> parts = whole(d.p);
    const std::vector<float> batch = d.run(parts);
    const std::vector<float> some = d.run({parts.begin() + 40, parts.begin() + 60});
    EXPECT_TRUE(same_bits(some, {batch.begin() + 40 * 512, batch.begin() + 60 * 512}));
    for (std::size_t s = 0; s < 70; s += 23) {
      const std::vector<float> alone = d.run({parts[s]});
      const auto at = batch.begin() + static_cast<std::int64_t>(s) * 512;
      EXPECT_TRUE(same_bits(alone, {at, at + 512})) << s;
    }
    for (const std::int32_t window : {0, 50}) {
      const CudaProblem f(
          rig, dtype,
          AttentionProblem{.q_heads = 6, .window = window, .sequences = {{90, 300}, {40, 40}, {77, 190}}}.make());
      const std::vector<float> together = f.run(whole(f.p));
      std::vector<float> apart = f.run({{0, 210, 241}, {1, 0, 40}});
      const std::vector<float> others = f.run({{0, 241, 300}});
      const std::vector<float> last = f.run({{2, 113, 190}});
      apart.insert(apart.begin() + 31 * 384, others.begin(), others.end());
      apart.insert(apart.end(), last.begin(), last.end());
      EXPECT_TRUE(same_bits(together, apart)) << "window " << window;
    }
  }
}

TEST(PagedAttentionCuda, RanksHoldAnySliceOfHeadsAndZeroForeignColumns) {
  const CudaRig rig;
  for (const std::int32_t queries : {1, 20}) {
    const CudaProblem whole_heads(
        rig, DType::kBF16,
        AttentionProblem{.q_heads = 12, .kv_heads = 4, .head_dim = 24, .sequences = {{queries, 150}, {1, 140}}}.make());
    const AttentionProblem& p = whole_heads.p;
    const std::int64_t n = p.num_queries, d = p.head_dim, group = 3;
    const std::vector<float> all = whole_heads.run_on_cpu(whole(p));
    const Batch batch(p, whole(p));
    const OwnedTensor query_begin = rig.upload(batch.query_begin, {3}), context = rig.upload(batch.context_len, {2});
    const OwnedTensor table = rig.upload(batch.page_table, {2, p.max_pages});
    for (const auto& [begin, end] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 2}, {2, 7}, {7, 8}, {8, 12}, {5, 5}}) {
      SCOPED_TRACE(begin);
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
      const std::int64_t before = 7, cols = before + (end - begin) * d + 16;
      const OwnedTensor out = rig.unwritten(DType::kBF16, {n, cols});
      const OwnedTensor q_here = rig.upload(q, DType::kBF16, {n, end - begin, d});
      const OwnedTensor k_here = rig.upload(k, DType::kBF16, {p.num_pages, p.page_size, kv_heads, d});
      const OwnedTensor v_here = rig.upload(v, DType::kBF16, {p.num_pages, p.page_size, kv_heads, d});
      const OwnedTensor scratch = CudaProblem::zeroed(rig, p);
      paged_attention(rig.stream(), out.tensor, q_here.tensor, k_here.tensor, v_here.tensor,
                      {.query_begin = query_begin.tensor,
                       .context_len = context.tensor,
                       .page_table = table.tensor,
                       .scale = p.scale,
                       .group_size = group,
                       .first_query_head = begin,
                       .first_kv_head = kv_begin,
                       .out_col_begin = before,
                       .scratch = scratch.tensor});
      std::vector<double> expected(static_cast<std::size_t>(n * cols), 0.0);
      for (std::int64_t t = 0; t < n; ++t) {
        std::copy(all.begin() + (t * 12 + begin) * d, all.begin() + (t * 12 + end) * d,
                  expected.begin() + t * cols + before);
      }
      const std::vector<float> actual = rig.download(out.tensor);
      expect_near(actual, expected, whole_heads.tolerance(), 0.5 * epsilon_of(DType::kBF16));
      for (std::size_t i = 0; i < actual.size(); ++i) {
        if (expected[i] == 0) {
          ASSERT_EQ(actual[i], 0.0f) << i;
        }
      }
    }
  }
}

TEST(PagedAttentionCuda, WhatNoQuerySeesHasNoInfluence) {
  const CudaRig rig;
  for (const DType dtype : kActivationTypes) {
    for (const std::int32_t queries : {1, 60}) {
      SCOPED_TRACE(format("{} queries, {}", queries, to_string(dtype)));
      const AttentionProblem clean =
          AttentionProblem{.q_heads = 2, .kv_heads = 1, .window = 50, .sequences = {{queries, 200}}}.make();
      AttentionProblem poisoned = clean;
      const auto poison = [&](std::int64_t at) {
        for (std::int64_t i = 0; i < clean.head_dim; ++i) {
          poisoned.k[static_cast<std::size_t>(at + i)] = poisoned.v[static_cast<std::size_t>(at + i)] = kNaN;
        }
      };
      // A foreign page, the places past the end, and what the window has left behind.
      for (std::int64_t slot = 0; slot < clean.page_size; ++slot) poison(slot * clean.head_dim);
      for (std::int64_t position = 200; position < 208; ++position) poison(clean.key_offset(0, position, 0));
      for (std::int64_t position = 0; position < 201 - queries - 50; ++position) {
        poison(clean.key_offset(0, position, 0));
      }
      EXPECT_TRUE(same_bits(CudaProblem(rig, dtype, clean).run(whole(clean)),
                            CudaProblem(rig, dtype, poisoned).run(whole(clean))));
      // And what all see does.
      const std::int64_t seen = clean.key_offset(0, 200 - queries, 0);
      poisoned.k[static_cast<std::size_t>(seen)] = kNaN;
      const std::vector<float> seen_by_first = CudaProblem(rig, dtype, poisoned).run(whole(clean));
      for (std::size_t i = 0; i < 128; ++i) ASSERT_TRUE(std::isnan(seen_by_first[i])) << i;
    }
  }
}

TEST(PagedAttentionCuda, ReplayFollowsWhatTheTensorsHold) {
  const CudaRig rig;
  for (const DType dtype : kActivationTypes) {
    for (const std::int32_t queries : {1, 40}) {
      SCOPED_TRACE(format("{} queries, {}", queries, to_string(dtype)));
      const CudaProblem problem(
          rig, dtype,
          AttentionProblem{.q_heads = 8, .head_dim = 128, .sequences = {{queries, 1500}, {queries, 900}, {1, 2}}}
              .make());
      const AttentionProblem& p = problem.p;
      const Batch first(p, whole(p));
      // Shorter contexts, the sequences in another order, and a place without a sequence.
      Batch second = first;
      second.context_len = {300, 1100, 0};
      std::swap_ranges(second.page_table.begin(), second.page_table.begin() + p.max_pages,
                       second.page_table.begin() + p.max_pages);
      const std::int64_t n = first.num_queries();
      const Shape q_shape{n, p.q_heads, p.head_dim};
      const auto upload = [&](const Tensor& to, const std::vector<std::int32_t>& values) {
        cuda::copy(rig.stream().cuda_handle(), to.raw(), values.data(), to.bytes());
        rig.stream().synchronize();
      };
      const OwnedTensor q = rig.upload(first.q, dtype, q_shape);
      const OwnedTensor begin = rig.upload(first.query_begin, {4}), context = rig.upload(first.context_len, {3});
      const OwnedTensor table = rig.upload(first.page_table, {3, p.max_pages});
      const OwnedTensor out = rig.unwritten(dtype, {n, p.q_heads * p.head_dim});
      const auto run = [&] { problem.run(out.tensor, q.tensor, begin.tensor, context.tensor, table.tensor); };
      const cuda::Graph graph(0, rig.stream().cuda_handle(), run);
      for (const Batch* batch : std::initializer_list<const Batch*>{&first, &second, &first}) {
        upload(begin.tensor, batch->query_begin);
        upload(context.tensor, batch->context_len);
        upload(table.tensor, batch->page_table);
        run();
        const std::vector<float> eager = rig.download(out.tensor);
        const OwnedTensor unwritten = rig.unwritten(dtype, {n, p.q_heads * p.head_dim});
        cuda::copy(rig.stream().cuda_handle(), out.tensor.raw(), unwritten.tensor.raw(), out.tensor.bytes());
        graph.launch(rig.stream().cuda_handle());
        EXPECT_TRUE(same_bits(rig.download(out.tensor), eager));
        if (batch == &second) {
          const std::vector<float> empty_place(eager.end() - p.q_heads * p.head_dim, eager.end());
          EXPECT_TRUE(same_bits(empty_place, std::vector<float>(empty_place.size(), 0.0f)));
        }
      }
    }
  }
}

TEST(PagedAttentionCuda, NothingToDoIsLegal) {
  const CudaRig rig;
  const CudaProblem problem(rig, DType::kF16, AttentionProblem{.sequences = {{0, 5}}}.make());
  EXPECT_TRUE(problem.run(whole(problem.p)).empty());
  EXPECT_TRUE(problem.run({}).empty());
}

}  // namespace
}  // namespace tandem
