#include <limits>

#include "kernels/dequantise/dequantise.h"
#include "kernels/matmul/gemm_cuda.h"
#include "kernels/matmul/matmul.h"
#include "kernels/weights_testing.h"

namespace tandem {
namespace {

constexpr unsigned kSeed = 20240229;

bool goes_with(DType x, DType w) {
  return x == DType::kF32 || w == x || w == DType::kF32 || is_quantised(w);
}

OwnedTensor scratch_for(const CudaRig& rig, DType activations, std::int64_t num_tokens, const ConstMatrix& w) {
  const std::size_t bytes = matmul_scratch_bytes(rig.device(), activations, num_tokens, w);
  return {rig.device(), DType::kU8, {static_cast<std::int64_t>(bytes)}};
}

/// Compares a result of a GPU with the definition on the same x, which is rounded to the dtype of activations.
void expect_product(const std::vector<float>& y, DType y_dtype, const std::vector<float>& x, DType x_dtype,
                    std::int64_t num_tokens, const ConstMatrix& w, const std::vector<float>& bias) {
  const ConstTensor x_tensor = tensor_of(x, {num_tokens, w.cols});
  std::vector<float> reference(static_cast<std::size_t>(num_tokens * w.rows));
  const MatmulPart part{tensor_of(reference, {num_tokens, w.rows}), w,
                        bias.empty() ? ConstTensor() : tensor_of(bias, {w.rows})};
  matmul_cpu_reference(x_tensor, std::span(&part, 1));
  ASSERT_EQ(y.size(), reference.size());
  // The kernels multiply decoded weights, or whole numbers, scales and offsets apart: each at most four times the
  // largest weight for the scales drawn here. n products in f32, in any order, are off by about sqrt(n) roundings of
  // the sum of magnitudes. Many tokens meet weights that are rounded to x's dtype; biases may be rounded to y's.
  const double sum_error = (8 + std::sqrt(static_cast<double>(w.cols))) * 0x1p-23 * 4;
  const double weight_error = num_tokens > 16 && is_quantised(w.dtype) ? 0.5 * epsilon_of(x_dtype) : 0;
  const double y_error = 0.5 * epsilon_of(y_dtype);
  std::vector<double> of_x(static_cast<std::size_t>(num_tokens));  // sums of magnitudes
  for (std::size_t i = 0; i < x.size(); ++i) of_x[i / static_cast<std::size_t>(w.cols)] += std::abs(x[i]);
  std::vector<float> row(static_cast<std::size_t>(w.cols));
  double worst = 0;
  for (std::int64_t r = 0; r < w.rows; ++r) {
    dequantise_row(row.data(), w.row(r), w.dtype, w.cols);
    double largest = 0;
    for (const float weight : row) largest = std::max(largest, std::abs(static_cast<double>(weight)));
    const double offset = bias.empty() ? 0 : std::abs(bias[static_cast<std::size_t>(r)]);
    for (std::int64_t t = 0; t < num_tokens; ++t) {
      const auto place = static_cast<std::size_t>(t * w.rows + r);
      const double expected = reference[place], actual = y[place];
      const double bound = (sum_error + weight_error) * largest * of_x[static_cast<std::size_t>(t)] +
                           sum_error * offset + y_error * (std::abs(expected) + offset) + 1e-30;
      ASSERT_TRUE(std::isfinite(actual)) << "token " << t << " row " << r << " is " << actual;
      const double share = std::abs(actual - expected) / bound;
      if (share > worst) {
        worst = share;
        EXPECT_LE(share, 1.0) << "token " << t << " row " << r << " is " << actual << ", expected " << expected;
      }
    }
  }
}

struct TestShape {
  std::int64_t rows, cols, gap;  ///< elements between rows
};

class MatmulCuda : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(All, MatmulCuda, testing::ValuesIn(kWeightTypes),
                         [](const auto& test) { return std::string(to_string(test.param)); });

TEST_P(MatmulCuda, MatchesTheReference) {
  const CudaRig rig;
  const std::int64_t block = dtype_info(GetParam()).block_size;
  std::vector<TestShape> shapes = {{1, 1, 0}, {7, 13, 0}, {37, 64, 1}, {50, 72, 8}, {576, 1536, 0}, {33, 14336, 64}};
  if (block > 1)
    shapes = {{1, block, 0}, {7, 3 * block, block}, {37, 9 * block, 0}, {576, 1536, 0}, {33, 14336, block}};
  for (const TestShape& shape : shapes) {
    const bool large = shape.rows * shape.cols > 100000;
    const TestWeights w(rig, GetParam(), shape.rows, shape.cols, shape.gap, kSeed);
    for (const std::int64_t num_tokens : {1, 2, 3, 7, 8, 15, 16, 17, 100}) {
      if (large && num_tokens != 1 && num_tokens != 7 && num_tokens != 16 && num_tokens != 17) continue;
      for (const DType x_dtype : kActivationTypes) {
        if (!goes_with(x_dtype, GetParam())) continue;
        const DType y_dtype = num_tokens % 2 == 0 ? DType::kF32 : x_dtype;
        SCOPED_TRACE(format("{} [{}, {}], gap {}, {} tokens {} to {}", to_string(GetParam()), shape.rows, shape.cols,
                            shape.gap, num_tokens, to_string(x_dtype), to_string(y_dtype)));
        const std::vector<float> x = rounded_to(x_dtype, random_values(num_tokens * shape.cols, 3));
        const std::vector<float> bias = num_tokens % 3 == 0 ? std::vector<float>() : random_values(shape.rows, 4);
        const OwnedTensor in = rig.upload(x, x_dtype, {num_tokens, shape.cols});
        const OwnedTensor offsets = bias.empty() ? OwnedTensor() : rig.upload(bias, DType::kF32, {shape.rows});
        const OwnedTensor out = rig.unwritten(y_dtype, {num_tokens, shape.rows});
        const OwnedTensor scratch = scratch_for(rig, x_dtype, num_tokens, w.device());
        matmul(rig.stream(), out.tensor, in.tensor, w.device(), offsets.tensor, scratch.tensor);
        expect_product(rig.download(out.tensor), y_dtype, x, x_dtype, num_tokens, w.host(), bias);
      }
    }
  }
}

TEST_P(MatmulCuda, ATokensBitsDoNotDependOnHowManyCome) {
  const CudaRig rig;
  for (const DType x_dtype : kActivationTypes) {
    if (!goes_with(x_dtype, GetParam())) continue;
    const std::int64_t rows = 40, cols = 1536;
    const TestWeights w(rig, GetParam(), rows, cols, 0, kSeed);
    const OwnedTensor in = rig.upload(random_values(16 * cols, 3), x_dtype, {16, cols});
    const OwnedTensor all = rig.unwritten(DType::kF32, {16, rows});
    matmul(rig.stream(), all.tensor, in.tensor, w.device());
    for (const std::int64_t num_tokens : {1, 3, 8, 9}) {
      const OwnedTensor some = rig.unwritten(DType::kF32, {num_tokens, rows});
      const std::int64_t begin = 16 - num_tokens;
      matmul(rig.stream(), some.tensor, in.tensor.slice(begin, 16), w.device());
      EXPECT_TRUE(same_bits(rig.download(some.tensor), rig.download(all.tensor.slice(begin, 16))))
          << num_tokens << " tokens of " << to_string(x_dtype);
    }
  }
}

TEST(MatmulOnCuda, PartsMayDifferInRowsDTypeAndResult) {
  const CudaRig rig;
  const DType x_dtype = DType::kBF16;
  const std::int64_t cols = 768;
  const DType weights[] = {DType::kBF16, DType::kBF16, DType::kQ4_K, DType::kBF16, DType::kQ6_K, DType::kF32,
                           DType::kBF16, DType::kBF16, DType::kBF16, DType::kBF16, DType::kBF16};
  for (const std::int64_t num_tokens : {1, 9, 30}) {
    const std::vector<float> x = rounded_to(x_dtype, random_values(num_tokens * cols, 3));
    const OwnedTensor in = rig.upload(x, x_dtype, {num_tokens, cols});
    std::vector<TestWeights> matrices;
    std::vector<OwnedTensor> results;
    std::vector<MatmulPart> parts;
    OwnedTensor scratch;
    for (std::size_t i = 0; i < std::size(weights); ++i) {
      const std::int64_t rows = i == 3 ? 0 : 16 + 7 * static_cast<std::int64_t>(i);
      matrices.emplace_back(rig, weights[i], rows, cols, 0, kSeed + static_cast<unsigned>(i));
      results.push_back(rig.unwritten(i % 2 == 0 ? DType::kF32 : x_dtype, {num_tokens, rows}));
      parts.push_back({results.back().tensor, matrices.back().device(), {}});
      OwnedTensor needed = scratch_for(rig, x_dtype, num_tokens, matrices.back().device());
      if (scratch.tensor.raw() == nullptr || needed.tensor.bytes() > scratch.tensor.bytes()) {
        scratch = std::move(needed);
      }
    }
    matmul(rig.stream(), in.tensor, parts, scratch.tensor);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      SCOPED_TRACE(format("{} tokens, part {}", num_tokens, i));
      expect_product(rig.download(results[i].tensor), results[i].tensor.dtype(), x, x_dtype, num_tokens,
                     matrices[i].host(), {});
    }
  }
}

TEST(MatmulOnCuda, ManyTokensNeedNoLibrary) {
  const CudaRig rig;
  for (const DType dtype : kActivationTypes) {
    const std::int64_t rows = 70, cols = 83, num_tokens = 130;
    const TestWeights w(rig, dtype, rows, cols, 3, kSeed);
    const std::vector<float> x = rounded_to(dtype, random_values(num_tokens * cols, 3)), bias = random_values(rows, 4);
    const OwnedTensor in = rig.upload(x, dtype, {num_tokens, cols}), offsets = rig.upload(bias, DType::kF32, {rows});
    const OwnedTensor out = rig.unwritten(dtype, {num_tokens, rows});
    const GemmTask task{.y = out.tensor.raw(),
                        .y_stride = rows,
                        .y_dtype = dtype,
                        .x = in.tensor.raw(),
                        .x_dtype = dtype,
                        .w = w.device().data,
                        .w_dtype = dtype,
                        .w_row_stride = w.device().row_stride,
                        .bias = offsets.tensor.data<float>(),
                        .num_tokens = num_tokens,
                        .rows = rows,
                        .cols = cols};
    ASSERT_EQ(gemm_cuda(rig.stream().cuda_handle(), task), 0);
    SCOPED_TRACE(to_string(dtype));
    expect_product(rig.download(out.tensor), dtype, x, dtype, num_tokens, w.host(), bias);
  }
}

TEST(MatmulOnCuda, QuantisedWeightsAreExpandedInSlices) {
  const CudaRig rig;
  const std::int64_t rows = 1300, cols = 14336, num_tokens = 17;  // 71 MiB of f32
  const TestWeights w(rig, DType::kQ4_0, rows, cols, 0, kSeed);
  const std::vector<float> x = random_values(num_tokens * cols, 3), bias = random_values(rows, 4);
  const OwnedTensor in = rig.upload(x, DType::kF32, {num_tokens, cols});
  const OwnedTensor offsets = rig.upload(bias, DType::kF32, {rows});
  const OwnedTensor out = rig.unwritten(DType::kF32, {num_tokens, rows});
  const OwnedTensor scratch = scratch_for(rig, DType::kF32, num_tokens, w.device());
  ASSERT_LT(scratch.tensor.bytes(), static_cast<std::size_t>(rows * cols) * sizeof(float) + (std::size_t{32} << 20));
  matmul(rig.stream(), out.tensor, in.tensor, w.device(), offsets.tensor, scratch.tensor);
  expect_product(rig.download(out.tensor), DType::kF32, x, DType::kF32, num_tokens, w.host(), bias);
  EXPECT_THROW(matmul(rig.stream(), out.tensor, in.tensor, w.device()), Error) << "without scratch";
}

TEST(MatmulOnCuda, NoColumnsGiveTheBiasOrZero) {
  const CudaRig rig;
  const TestWeights w(rig, DType::kBF16, 300, 8, 0, kSeed);
  const ConstMatrix none = w.device().slice(0, 300, 0, 0);
  const std::vector<float> bias = rounded_to(DType::kBF16, random_values(300, 4));
  const OwnedTensor offsets = rig.upload(bias, DType::kF32, {300});
  for (const std::int64_t num_tokens : {1, 20}) {
    const OwnedTensor in(rig.device(), DType::kBF16, {num_tokens, 0});
    const OwnedTensor with = rig.unwritten(DType::kBF16, {num_tokens, 300});
    const OwnedTensor without = rig.unwritten(DType::kF32, {num_tokens, 300});
    matmul(rig.stream(), with.tensor, in.tensor, none, offsets.tensor);
    matmul(rig.stream(), without.tensor, in.tensor, none);
    for (std::int64_t t = 0; t < num_tokens; ++t) {
      EXPECT_TRUE(same_bits(rig.download(with.tensor.slice(t, t + 1)), bias));
      EXPECT_TRUE(same_bits(rig.download(without.tensor.slice(t, t + 1)), std::vector<float>(300, 0.0f)));
    }
  }
}

TEST(MatmulOnCuda, NoTokensAndNoRowsAreLegal) {
  const CudaRig rig;
  const TestWeights w(rig, DType::kF16, 30, 64, 0, kSeed);
  const OwnedTensor in = rig.upload(random_values(64, 3), DType::kF16, {1, 64});
  const OwnedTensor out = rig.unwritten(DType::kF16, {1, 30});
  matmul(rig.stream(), out.tensor.slice(0, 0), in.tensor.slice(0, 0), w.device());
  matmul(rig.stream(), OwnedTensor(rig.device(), DType::kF16, {1, 0}).tensor, in.tensor, w.device().slice(0, 0, 0, 64));
  for (const float value : rig.download(out.tensor)) EXPECT_TRUE(std::isnan(value));
}

TEST(MatmulOnCuda, NotANumberStaysInItsToken) {
  const CudaRig rig;
  for (const DType dtype : {DType::kBF16, DType::kQ4_1, DType::kQ6_K}) {
    const std::int64_t rows = 20, cols = 768;
    const TestWeights w(rig, dtype, rows, cols, 0, kSeed);
    for (const std::int64_t num_tokens : {2, 11, 40}) {
      std::vector<float> x = random_values(num_tokens * cols, 3);
      x[static_cast<std::size_t>(2 * cols - 1)] = std::numeric_limits<float>::quiet_NaN();  // of token 1
      const OwnedTensor in = rig.upload(x, DType::kBF16, {num_tokens, cols});
      const OwnedTensor out = rig.unwritten(DType::kBF16, {num_tokens, rows});
      const OwnedTensor scratch = scratch_for(rig, DType::kBF16, num_tokens, w.device());
      matmul(rig.stream(), out.tensor, in.tensor, w.device(), {}, scratch.tensor);
      const std::vector<float> y = rig.download(out.tensor);
      for (std::int64_t i = 0; i < num_tokens * rows; ++i) {
        EXPECT_EQ(std::isnan(y[static_cast<std::size_t>(i)]), i / rows == 1)
            << to_string(dtype) << ", " << num_tokens << " tokens, element " << i;
      }
    }
  }
}

TEST(MatmulOnCuda, ReplayedFromAGraphHasTheSameBits) {
  const CudaRig rig;
  for (const DType dtype : {DType::kF16, DType::kQ8_0}) {
    const TestWeights w(rig, dtype, 100, 512, 0, kSeed);
    for (const std::int64_t num_tokens : {1, 12, 50}) {
      const OwnedTensor in = rig.upload(random_values(num_tokens * 512, 3), DType::kF16, {num_tokens, 512});
      const OwnedTensor eager = rig.unwritten(DType::kF16, {num_tokens, 100});
      const OwnedTensor replayed = rig.unwritten(DType::kF16, {num_tokens, 100});
      const OwnedTensor scratch = scratch_for(rig, DType::kF16, num_tokens, w.device());
      matmul(rig.stream(), eager.tensor, in.tensor, w.device(), {}, scratch.tensor);
      const cuda::Graph graph(rig.device().index, rig.stream().cuda_handle(), [&] {
        matmul(rig.stream(), replayed.tensor, in.tensor, w.device(), {}, scratch.tensor);
      });
      graph.launch(rig.stream().cuda_handle());
      EXPECT_TRUE(same_bits(rig.download(replayed.tensor), rig.download(eager.tensor)))
          << to_string(dtype) << ", " << num_tokens << " tokens";
    }
  }
}

}  // namespace
}  // namespace tandem
