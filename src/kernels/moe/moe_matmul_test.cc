#include "kernels/moe/moe_matmul.h"

#include "kernels/testing.h"

namespace tandem {
namespace {

TEST(MoeMatmul, SendsEachTokenThroughItsExperts) {
  const std::int64_t num_experts = 5, k = 2, rows = 24, cols = 40;
  const std::vector<float> weights = random_values(num_experts * rows * cols, 1);
  std::vector<ConstMatrix> experts;
  for (std::int64_t e = 0; e < num_experts; ++e) {
    experts.push_back({weights.data() + e * rows * cols, DType::kF32, rows, cols, cols * sizeof(float), Device{}});
  }
  for (std::int64_t n : {0, 1, 2, 17}) {
    for (bool shared : {true, false}) {
      SCOPED_TRACE(format("{} tokens, {}", n, shared ? "one row a token" : "one row an expert"));
      const std::vector<float> x = random_values((shared ? n : n * k) * cols, 2);
      std::vector<std::int32_t> ids;
      for (std::int32_t t = 0; t < n; ++t) ids.insert(ids.end(), {t * 3 % 4, 4 - t % 2});  // not all are chosen
      std::vector<float> y(static_cast<std::size_t>(n * k * rows), 9.0f);
      moe_matmul(Stream::cpu(2), tensor_of(y, {n * k, rows}), tensor_of(x, {shared ? n : n * k, cols}), experts,
                 tensor_of(ids, {n, k}));
      std::vector<double> expected;
      for (std::int64_t i = 0; i < n * k; ++i) {
        const float* row = x.data() + (shared ? i / k : i) * cols;
        const float* w = weights.data() + ids[static_cast<std::size_t>(i)] * rows * cols;
        for (std::int64_t r = 0; r < rows; ++r) {
          double& sum = expected.emplace_back(0.0);
          for (std::int64_t c = 0; c < cols; ++c) sum += static_cast<double>(row[c]) * w[r * cols + c];
        }
      }
      // A sum of cols terms below 1 in any order: at most cols^2 / 2 roundings of it; in practice a tenth of that.
      expect_near(y, expected, static_cast<double>(cols * cols) / 2 * 0x1p-24, 0);
    }
  }
}

TEST(MoeMatmul, NamesATokenWhoseExpertDoesNotExist) {
  std::vector<float> w(8), x(2 * 4), y(2 * 2);
  const std::vector<ConstMatrix> experts{{w.data(), DType::kF32, 2, 4, 16, Device{}}};
  const std::vector<std::int32_t> ids{0, 1};
  EXPECT_THROW(moe_matmul(Stream::cpu(1), tensor_of(y, {2, 2}), tensor_of(x, {2, 4}), experts, tensor_of(ids, {2, 1})),
               Error);
}

}  // namespace
}  // namespace tandem
