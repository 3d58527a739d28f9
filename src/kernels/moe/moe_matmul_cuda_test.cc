#include "kernels/moe/moe_matmul.h"
#include "kernels/weights_testing.h"

namespace tandem {
namespace {

/// Experts as they lie in a model: matrices of one dtype.
struct Experts {
  std::vector<TestWeights> weights;
  std::vector<ConstMatrix> host, device;
};

Experts make_experts(const CudaRig& rig, DType dtype, int count, std::int64_t rows, std::int64_t cols,
                     std::int64_t gap) {
  Experts experts;
  for (int e = 0; e < count; ++e) {
    experts.weights.emplace_back(rig, dtype, rows, cols, gap, 100 + static_cast<unsigned>(e));
    experts.host.push_back(experts.weights.back().host());
    experts.device.push_back(experts.weights.back().device());
  }
  return experts;
}

/// Picks differ within a token; expert 0 has none, expert 1 many.
std::vector<std::int32_t> make_ids(std::int64_t num_tokens, std::int64_t k, int num_experts) {
  std::vector<std::int32_t> ids;
  for (std::int64_t t = 0; t < num_tokens; ++t) {
    for (std::int64_t j = 0; j < k; ++j) {
      ids.push_back(j == 0 ? 1 : static_cast<std::int32_t>(2 + (5 * t + j) % (num_experts - 2)));
    }
  }
  return ids;
}

class MoeMatmulCuda : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(All, MoeMatmulCuda, testing::ValuesIn(kWeightTypes),
                         [](const auto& test) { return std::string(to_string(test.param)); });

TEST_P(MoeMatmulCuda, MatchesTheCpuTwin) {
  const CudaRig rig;
  const std::int64_t block = dtype_info(GetParam()).block_size, k = 3;
  const int num_experts = 7;
  for (const std::int64_t cols : {3 * std::max<std::int64_t>(block, 24), block == 1 ? std::int64_t{13} : block}) {
    const std::int64_t rows = 37;
    const Experts experts = make_experts(rig, GetParam(), num_experts, rows, cols, block == 1 ? 8 : block);
    // 1 and 2 tokens: no more slots than experts. 2000: more than a block looks through at once.
    for (const std::int64_t num_tokens : {1, 2, 3, 40, 2000}) {
      if (num_tokens == 2000 && (cols > 300 || GetParam() == DType::kF32)) continue;
      const std::vector<std::int32_t> ids = make_ids(num_tokens, k, num_experts);
      const OwnedTensor picks = rig.upload(ids, {num_tokens, k});
      for (const bool shared : {true, false}) {
        const std::int64_t x_rows = shared ? num_tokens : num_tokens * k;
        for (const DType x_dtype : kActivationTypes) {
          const bool goes = x_dtype == DType::kF32 || GetParam() == x_dtype || GetParam() == DType::kF32 || block > 1;
          if (!goes) continue;
          const std::vector<float> x = rounded_to(x_dtype, random_values(x_rows * cols, 3));
          std::vector<float> expected(static_cast<std::size_t>(num_tokens * k * rows));
          moe_matmul(Stream::cpu(2), tensor_of(expected, {num_tokens * k, rows}), tensor_of(x, {x_rows, cols}),
                     experts.host, tensor_of(ids, {num_tokens, k}));
          const DType y_dtype = shared ? x_dtype : DType::kF32;
          const OwnedTensor in = rig.upload(x, x_dtype, {x_rows, cols});
          const OwnedTensor out = rig.unwritten(y_dtype, {num_tokens * k, rows});
          moe_matmul(rig.stream(), out.tensor, in.tensor, experts.device, picks.tensor);
          SCOPED_TRACE(format("{} [{}, {}], {} tokens of {}, {}", to_string(GetParam()), rows, cols, num_tokens,
                              to_string(x_dtype), shared ? "one row a token" : "one row an expert"));
          // Weights are below 0.1 times a whole number below 128 or 63 * 15 / 64, x below 1; sums in f32 on both
          // sides, each off by about sqrt(cols) roundings of the sum of magnitudes, with offsets multiplied apart.
          const double largest = block == 1 ? 0.1 : 0.1 * (GetParam() == DType::kQ8_0 ? 128 : 64);
          const double magnitude = 4 * largest * static_cast<double>(cols);
          const double absolute = 2 * (8 + std::sqrt(static_cast<double>(cols))) * 0x1p-23 * magnitude;
          expect_near(rig.download(out.tensor), {expected.begin(), expected.end()}, absolute,
                      0.5 * epsilon_of(y_dtype));
        }
      }
    }
  }
}

TEST(MoeMatmulOnCuda, ATokensBitsDoNotDependOnTheOthers) {
  const CudaRig rig;
  const std::int64_t rows = 48, cols = 256, k = 2, num_tokens = 33;
  const Experts experts = make_experts(rig, DType::kQ4_K, 8, rows, cols, 0);
  const std::vector<std::int32_t> ids = make_ids(num_tokens, k, 8);
  const OwnedTensor picks = rig.upload(ids, {num_tokens, k});
  const OwnedTensor in = rig.upload(random_values(num_tokens * cols, 3), DType::kBF16, {num_tokens, cols});
  const OwnedTensor all = rig.unwritten(DType::kF32, {num_tokens * k, rows});
  moe_matmul(rig.stream(), all.tensor, in.tensor, experts.device, picks.tensor);
  for (const std::int64_t t : {0, 17, 32}) {
    const OwnedTensor one = rig.unwritten(DType::kF32, {k, rows});
    moe_matmul(rig.stream(), one.tensor, in.tensor.slice(t, t + 1), experts.device, picks.tensor.slice(t, t + 1));
    EXPECT_TRUE(same_bits(rig.download(one.tensor), rig.download(all.tensor.slice(t * k, t * k + k)))) << t;
  }
}

TEST(MoeMatmulOnCuda, IdsOfNoExpertTouchNothing) {
  const CudaRig rig;
  const Experts experts = make_experts(rig, DType::kBF16, 4, 20, 64, 0);
  for (const std::int64_t num_tokens : {1, 9}) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(2 * num_tokens), 3);
    ids[0] = -1;
    ids[1] = 4;
    const OwnedTensor picks = rig.upload(ids, {num_tokens, 2});
    const OwnedTensor in = rig.upload(random_values(num_tokens * 64, 3), DType::kBF16, {num_tokens, 64});
    const OwnedTensor out = rig.unwritten(DType::kF32, {2 * num_tokens, 20});
    moe_matmul(rig.stream(), out.tensor, in.tensor, experts.device, picks.tensor);
    const std::vector<float> y = rig.download(out.tensor);
    for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i < 40) << i;
  }
}

TEST(MoeMatmulOnCuda, NoTokensAndNoColumnsAreLegal) {
  const CudaRig rig;
  const Experts experts = make_experts(rig, DType::kF16, 4, 20, 64, 0);
  const OwnedTensor picks = rig.upload(std::vector<std::int32_t>{1, 2}, {1, 2});
  const OwnedTensor in = rig.upload(random_values(64, 3), DType::kF16, {1, 64});
  const OwnedTensor out = rig.unwritten(DType::kF16, {2, 20});
  moe_matmul(rig.stream(), out.tensor.slice(0, 0), in.tensor.slice(0, 0), experts.device, picks.tensor.slice(0, 0));
  std::vector<ConstMatrix> none;
  for (const ConstMatrix& w : experts.device) none.push_back(w.slice(0, 20, 0, 0));
  for (const float value : rig.download(out.tensor)) EXPECT_TRUE(std::isnan(value));
  moe_matmul(rig.stream(), out.tensor, OwnedTensor(rig.device(), DType::kF16, {1, 0}).tensor, none, picks.tensor);
  EXPECT_TRUE(same_bits(rig.download(out.tensor), std::vector<float>(40, 0.0f)));
}

TEST(MoeMatmulOnCuda, ReplayedFromAGraphFollowsTheIds) {
  const CudaRig rig;
  const Experts experts = make_experts(rig, DType::kBF16, 4, 20, 64, 0);
  const OwnedTensor in = rig.upload(random_values(64, 3), DType::kBF16, {1, 64});
  const OwnedTensor picks = rig.upload(std::vector<std::int32_t>{0, 1}, {1, 2});
  const OwnedTensor others = rig.upload(std::vector<std::int32_t>{3, 2}, {1, 2});
  const OwnedTensor replayed = rig.unwritten(DType::kBF16, {2, 20}), eager = rig.unwritten(DType::kBF16, {2, 20});
  moe_matmul(rig.stream(), replayed.tensor, in.tensor, experts.device, picks.tensor);
  const cuda::Graph graph(rig.device().index, rig.stream().cuda_handle(),
                          [&] { moe_matmul(rig.stream(), replayed.tensor, in.tensor, experts.device, picks.tensor); });
  cuda::copy(rig.stream().cuda_handle(), picks.tensor.raw(), others.tensor.raw(), picks.tensor.bytes());
  graph.launch(rig.stream().cuda_handle());
  moe_matmul(rig.stream(), eager.tensor, in.tensor, experts.device, others.tensor);
  EXPECT_TRUE(same_bits(rig.download(replayed.tensor), rig.download(eager.tensor)));
}

}  // namespace
}  // namespace tandem
