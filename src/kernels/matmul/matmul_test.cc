#include "kernels/matmul/matmul.h"

#include <cblas.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "base/half.h"
#include "device/buffer.h"
#include "kernels/dequantise/dequantise.h"
#include "kernels/matmul/matmul_cpu.h"

namespace tandem {
namespace {

constexpr unsigned kSeed = 20240229;
constexpr DType kWeights[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                              DType::kQ5_1, DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};
constexpr std::int64_t kTokenCounts[] = {0, 1, 2, 3, 5, 8, 9, 64, 200};

/// A matrix whose bytes end where its heap block ends, so that a sanitizer sees any read past the last row.
struct Weights {
  std::vector<std::byte> bytes;
  ConstMatrix matrix;
};

/// Random blocks with scales of either sign up to 0.1. The matrix is columns [skip, skip + cols) of wider rows.
Weights random_weights(DType dtype, std::int64_t rows, std::int64_t cols, std::int64_t skip, std::mt19937& random) {
  const DTypeInfo& info = dtype_info(dtype);
  std::uniform_real_distribution<float> scale(-0.1f, 0.1f);
  const std::size_t stride = dtype_bytes(dtype, cols + skip);
  Weights weights;
  weights.bytes.resize(static_cast<std::size_t>(rows) * stride);
  for (std::byte& byte : weights.bytes) byte = static_cast<std::byte>(random());
  const auto put = [&](std::size_t at, auto value) { std::memcpy(weights.bytes.data() + at, &value, sizeof(value)); };
  for (std::size_t at = 0; at < weights.bytes.size(); at += static_cast<std::size_t>(info.block_bytes)) {
    if (dtype == DType::kF32) {
      put(at, scale(random));
    } else if (dtype == DType::kBF16) {
      put(at, to_bf16(scale(random)));
    } else if (dtype == DType::kQ6_K) {
      put(at + 208, to_f16(scale(random) / 64));
    } else {
      put(at, to_f16(scale(random) / (info.block_size == 256 ? 64.f : 1.f)));
      if (dtype == DType::kQ4_1 || dtype == DType::kQ5_1) put(at + 2, to_f16(scale(random)));
      if (dtype == DType::kQ4_K || dtype == DType::kQ5_K) put(at + 2, to_f16(scale(random) / 64));
    }
  }
  weights.matrix = ConstMatrix{weights.bytes.data(), dtype, rows, cols + skip, stride, Device{}};
  weights.matrix = weights.matrix.slice(0, rows, skip, skip + cols);
  return weights;
}

OwnedTensor random_tensor(Shape shape, std::mt19937& random) {
  OwnedTensor owned(Device{}, DType::kF32, shape);
  std::uniform_real_distribution<float> value(-1.f, 1.f);
  for (std::int64_t i = 0; i < shape.num_elements(); ++i) owned.tensor.data<float>()[i] = value(random);
  return owned;
}

/// Largest |w[r, c]|-sum that a product can reach: sum over c of |x[t, c]| * magnitude, where magnitude bounds what the
/// kernels multiply with x: a decoded weight, or a scaled integer and an offset apart (dot_one_token), each at most
/// `kParts` times the largest weight of the row for the scales drawn here.
double sum_of_magnitudes(const float* x, const std::vector<float>& row) {
  constexpr double kParts = 4;
  double largest = 0, sum = 0;
  for (const float weight : row) largest = std::max(largest, static_cast<double>(std::abs(weight)));
  for (std::size_t c = 0; c < row.size(); ++c) sum += std::abs(static_cast<double>(x[c]));
  return kParts * largest * sum;
}

/// A sum of n products in f32 in any order is off by at most (n + 1) * eps / 2 * sum of magnitudes; in practice, and
/// more so in lanes, by about its square root. The bound used is (8 + sqrt(n)) * eps * sum of magnitudes.
double tolerance(std::int64_t n, double magnitudes) {
  return (8 + std::sqrt(static_cast<double>(n))) * std::numeric_limits<float>::epsilon() * magnitudes + 1e-30;
}

/// Compares with the reference, which is finite, and shows the worst element or the first that is not finite.
void expect_matches(ConstTensor x, const MatmulPart& part, const std::string& what) {
  const std::int64_t num_tokens = x.size(0), cols = x.size(1), rows = part.w.rows;
  const OwnedTensor expected(Device{}, DType::kF32, {num_tokens, rows});
  const MatmulPart reference{expected.tensor, part.w, part.bias};
  matmul_cpu_reference(x, std::span(&reference, 1));
  double worst = 0;
  std::int64_t worst_token = 0, worst_row = 0;
  std::vector<float> row(static_cast<std::size_t>(cols));
  for (std::int64_t r = 0; r < rows; ++r) {
    dequantise_row(row.data(), part.w.row(r), part.w.dtype, cols);
    const double bias = part.bias.raw() == nullptr ? 0 : std::abs(part.bias.data<float>()[r]);
    for (std::int64_t t = 0; t < num_tokens; ++t) {
      const float actual = part.y.data<float>()[t * rows + r];
      if (!std::isfinite(actual)) {  // a NaN compares with nothing, so it cannot be the worst
        ADD_FAILURE() << what << ": token " << t << " row " << r << " is " << actual;
        return;
      }
      const double error =
          std::abs(static_cast<double>(actual) - static_cast<double>(expected.tensor.data<float>()[t * rows + r]));
      const double ratio = error / tolerance(cols, sum_of_magnitudes(x.data<float>() + t * cols, row) + bias);
      if (ratio > worst) {
        worst = ratio;
        worst_token = t;
        worst_row = r;
      }
    }
  }
  EXPECT_LE(worst, 1.0) << what << ": token " << worst_token << " row " << worst_row << " is "
                        << part.y.data<float>()[worst_token * rows + worst_row] << ", expected "
                        << expected.tensor.data<float>()[worst_token * rows + worst_row];
}

std::string describe(const RowKernels& kernels, const ConstMatrix& w, std::int64_t num_tokens) {
  return format("{} {} [{}, {}] {} tokens", kernels.name, to_string(w.dtype), w.rows, w.cols, num_tokens);
}

class MatmulOfDType : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(All, MatmulOfDType, testing::ValuesIn(kWeights),
                         [](const auto& test) { return std::string(to_string(test.param)); });

TEST_P(MatmulOfDType, EveryInstructionSetMatchesReferenceOnOddShapes) {
  std::mt19937 random(kSeed);
  const std::int64_t block = dtype_info(GetParam()).block_size;
  // Columns: below, at and above a chunk of 256; for plain dtypes also no multiple of a vector.
  std::vector<std::int64_t> cols = {block, 3 * block, 8 * block, 18 * block};
  if (block == 1) cols = {1, 31, 100, 256, 577};
  if (block == 256) cols = {256, 768};
  for (const std::int64_t num_cols : cols) {
    for (const std::int64_t rows : {1, 3, 37}) {
      const Weights weights = random_weights(GetParam(), rows, num_cols, rows == 3 ? 2 * block : 0, random);
      const OwnedTensor bias = random_tensor({rows}, random);
      for (const std::int64_t num_tokens : kTokenCounts) {
        if (num_tokens > 9 && rows == 37) continue;
        const OwnedTensor x = random_tensor({num_tokens, num_cols}, random);
        const OwnedTensor y(Device{}, DType::kF32, {num_tokens, rows});
        const MatmulPart part{y.tensor, weights.matrix, rows == 1 ? ConstTensor() : ConstTensor(bias.tensor)};
        for (const RowKernels& kernels : row_kernels()) {
          for (const auto path : {matmul_rows, matmul_blocked}) {
            std::fill_n(y.tensor.data<float>(), y.tensor.num_elements(), std::numeric_limits<float>::quiet_NaN());
            if (num_tokens > 0) path(Stream::cpu(2), x.tensor, std::span(&part, 1), kernels);
            expect_matches(x.tensor, part, describe(kernels, weights.matrix, num_tokens) + format(", seed {}", kSeed));
          }
        }
      }
    }
  }
}

// With AVX512-VNNI each block of 32 values of x has a power of two of its own. One block alone at a time, so that no
// other one widens the tolerance; then all of them, one too small to count.
TEST_P(MatmulOfDType, BlocksOfXMayHaveMagnitudesFarApart) {
  std::mt19937 random(kSeed);
  constexpr std::int64_t kBlocks = 72, kCols = 32 * kBlocks, kRows = 3, kTiny = 7;
  const Weights weights = random_weights(GetParam(), kRows, kCols, 0, random);
  const OwnedTensor y(Device{}, DType::kF32, {1, kRows}), all = random_tensor({1, kCols}, random);
  for (std::int64_t c = 0; c < kCols; ++c) {
    const std::int64_t block = c / 32;
    float& value = all.tensor.data<float>()[c];
    value = std::ldexp(value, block == kTiny ? -110 : static_cast<int>(block % 60 - 30));
  }
  const MatmulPart part{y.tensor, weights.matrix, {}};
  for (const RowKernels& kernels : row_kernels()) {
    const auto expect_of = [&](const OwnedTensor& x, const std::string& what) {
      std::fill_n(y.tensor.data<float>(), kRows, std::numeric_limits<float>::quiet_NaN());
      matmul_rows(Stream::cpu(1), x.tensor, std::span(&part, 1), kernels);
      expect_matches(x.tensor, part, describe(kernels, weights.matrix, 1) + format(", {}, seed {}", what, kSeed));
    };
    expect_of(all, "all blocks of x");
    for (std::int64_t block = 0; block < kBlocks; ++block) {
      const OwnedTensor x(Device{}, DType::kF32, {1, kCols});
      std::fill_n(x.tensor.data<float>(), kCols, 0.f);
      std::copy_n(all.tensor.data<float>() + 32 * block, 32, x.tensor.data<float>() + 32 * block);
      expect_of(x, format("block {} of x", block));
    }
  }
}

TEST_P(MatmulOfDType, DoesNotDependOnTheNumberOfThreads) {
  std::mt19937 random(kSeed);
  const std::int64_t cols = dtype_info(GetParam()).block_size == 256 ? 512 : 576;
  const Weights first = random_weights(GetParam(), 577, cols, 0, random);
  const Weights second = random_weights(DType::kQ8_0, 130, cols, 32, random);
  for (const std::int64_t num_tokens : {1, 3, 40}) {
    const OwnedTensor x = random_tensor({num_tokens, cols}, random);
    std::vector<std::vector<float>> results;
    for (const int num_threads : {1, 2, 3, 7}) {
      const OwnedTensor y1(Device{}, DType::kF32, {num_tokens, 577}), y2(Device{}, DType::kF32, {num_tokens, 130});
      const MatmulPart parts[] = {{y1.tensor, first.matrix, {}}, {y2.tensor, second.matrix, {}}};
      matmul(Stream::cpu(num_threads), x.tensor, parts);
      if (num_threads == 3) {
        expect_matches(x.tensor, parts[0], format("first part, {} tokens", num_tokens));
        expect_matches(x.tensor, parts[1], format("second part, {} tokens", num_tokens));
      }
      std::vector<float> all(y1.tensor.data<float>(), y1.tensor.data<float>() + num_tokens * 577);
      all.insert(all.end(), y2.tensor.data<float>(), y2.tensor.data<float>() + num_tokens * 130);
      results.push_back(all);
      EXPECT_EQ(std::memcmp(results.front().data(), all.data(), all.size() * sizeof(float)), 0)
          << num_threads << " threads, " << num_tokens << " tokens, seed " << kSeed;
    }
  }
}

TEST_P(MatmulOfDType, DecodesWithTheBitsOfDequantiseRow) {
  std::mt19937 random(kSeed);
  const std::int64_t block = dtype_info(GetParam()).block_size;
  for (const std::int64_t cols : {block, 9 * block, 21 * block, 77 * block}) {
    const Weights weights = random_weights(GetParam(), 1, cols, 0, random);
    std::vector<float> expected(static_cast<std::size_t>(cols)), actual(expected);
    dequantise_row(expected.data(), weights.bytes.data(), GetParam(), cols);
    for (const RowKernels& kernels : row_kernels()) {
      kernels.decode(actual.data(), weights.bytes.data(), GetParam(), cols);
      EXPECT_EQ(actual, expected) << kernels.name << " " << cols << " columns, seed " << kSeed;
    }
  }
}

TEST_P(MatmulOfDType, ShardsOfColumnsAddUpToTheWhole) {
  std::mt19937 random(kSeed);
  const std::int64_t block = dtype_info(GetParam()).block_size;
  const std::int64_t cols = 18 * block, split = 7 * block, rows = 33;
  const Weights weights = random_weights(GetParam(), rows, cols, 0, random);
  for (const std::int64_t num_tokens : {1, 4, 40}) {
    const OwnedTensor x = random_tensor({num_tokens, cols}, random);
    const OwnedTensor y(Device{}, DType::kF32, {num_tokens, rows});
    for (const std::int64_t begin : {std::int64_t{0}, split}) {
      const std::int64_t end = begin == 0 ? split : cols;
      const OwnedTensor x_shard(Device{}, DType::kF32, {num_tokens, end - begin});
      for (std::int64_t t = 0; t < num_tokens; ++t) {
        std::copy(x.tensor.data<float>() + t * cols + begin, x.tensor.data<float>() + t * cols + end,
                  x_shard.tensor.data<float>() + t * (end - begin));
      }
      const OwnedTensor y_shard(Device{}, DType::kF32, {num_tokens, rows});
      matmul(Stream::cpu(2), y_shard.tensor, x_shard.tensor, weights.matrix.slice(0, rows, begin, end));
      for (std::int64_t i = 0; i < num_tokens * rows; ++i) {
        y.tensor.data<float>()[i] += y_shard.tensor.data<float>()[i];
      }
    }
    expect_matches(x.tensor, {y.tensor, weights.matrix, {}}, format("sum of shards, {} tokens", num_tokens));
  }
}

TEST_P(MatmulOfDType, PropagatesNotANumber) {
  std::mt19937 random(kSeed);
  const std::int64_t cols = 2 * std::max(dtype_info(GetParam()).block_size, 20);
  const Weights weights = random_weights(GetParam(), 3, cols, 0, random);
  for (const std::int64_t num_tokens : {1, 2, 40}) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const OwnedTensor x = random_tensor({num_tokens, cols}, random);
      x.tensor.data<float>()[cols - 1] = bad;  // of token 0
      const OwnedTensor y(Device{}, DType::kF32, {num_tokens, 3});
      matmul(Stream::cpu(1), y.tensor, x.tensor, weights.matrix);
      for (std::int64_t i = 0; i < num_tokens * 3; ++i) {
        EXPECT_EQ(std::isfinite(y.tensor.data<float>()[i]), i >= 3) << num_tokens << " tokens, element " << i;
      }
    }
  }
}

TEST(ExpectMatches, FailsOnNotANumberWhereverItStands) {
  std::mt19937 random(kSeed);
  const Weights weights = random_weights(DType::kQ8_0, 3, 64, 0, random);
  const OwnedTensor x = random_tensor({2, 64}, random), y(Device{}, DType::kF32, {2, 3});
  const MatmulPart part{y.tensor, weights.matrix, {}};
  for (std::int64_t place = 0; place < 6; ++place) {
    matmul(Stream::cpu(1), x.tensor, std::span(&part, 1));
    expect_matches(x.tensor, part, "as computed");
    y.tensor.data<float>()[place] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_NONFATAL_FAILURE(expect_matches(x.tensor, part, "spoilt"),
                            format("token {} row {} is nan", place / 3, place % 3));
  }
}

TEST(Matmul, ManyRowsOnOneTileBoundaryMatchReference) {
  std::mt19937 random(kSeed);
  for (const std::int64_t rows : {95, 96, 97, 577}) {
    const Weights weights = random_weights(DType::kQ4_1, rows, 64, 0, random);
    const OwnedTensor x = random_tensor({33, 64}, random), y(Device{}, DType::kF32, {33, rows});
    matmul(Stream::cpu(3), y.tensor, x.tensor, weights.matrix);
    expect_matches(x.tensor, {y.tensor, weights.matrix, {}}, format("{} rows", rows));
  }
}

TEST(Matmul, DeepMatricesAreCutIntoTilesOfColumns) {
  std::mt19937 random(kSeed);
  const Weights weights = random_weights(DType::kQ8_0, 5, 4128, 0, random);
  const OwnedTensor x = random_tensor({33, 4128}, random), y(Device{}, DType::kF32, {33, 5});
  const OwnedTensor bias = random_tensor({5}, random);
  matmul(Stream::cpu(1), y.tensor, x.tensor, weights.matrix, bias.tensor);
  expect_matches(x.tensor, {y.tensor, weights.matrix, bias.tensor}, "4128 columns");
}

TEST(Matmul, NoColumnsGiveTheBiasOrZero) {
  std::mt19937 random(kSeed);
  const OwnedTensor bias = random_tensor({3}, random);
  for (const std::int64_t num_tokens : {1, 2, 100}) {
    const OwnedTensor x(Device{}, DType::kF32, {num_tokens, 0});
    OwnedTensor y1 = random_tensor({num_tokens, 3}, random), y2 = random_tensor({num_tokens, 3}, random);
    const ConstMatrix empty{nullptr, DType::kQ4_K, 3, 0, 0, Device{}};
    const MatmulPart parts[] = {{y1.tensor, empty, bias.tensor}, {y2.tensor, empty, {}}};
    matmul(Stream::cpu(2), x.tensor, parts);
    for (std::int64_t i = 0; i < 3 * num_tokens; ++i) {
      EXPECT_EQ(y1.tensor.data<float>()[i], bias.tensor.data<float>()[i % 3]);
      EXPECT_EQ(y2.tensor.data<float>()[i], 0.f);
    }
  }
}

TEST(Matmul, NoRowsAreLegalBesideOthers) {
  std::mt19937 random(kSeed);
  const Weights weights = random_weights(DType::kQ4_0, 5, 64, 0, random);
  for (const std::int64_t num_tokens : {0, 1, 40}) {
    const OwnedTensor x = random_tensor({num_tokens, 64}, random), y(Device{}, DType::kF32, {num_tokens, 5});
    const OwnedTensor none(Device{}, DType::kF32, {num_tokens, 0});
    const ConstMatrix empty{nullptr, DType::kQ8_0, 0, 64, 68, Device{}};
    const MatmulPart parts[] = {{none.tensor, empty, {}}, {y.tensor, weights.matrix, {}}, {none.tensor, empty, {}}};
    matmul(Stream::cpu(3), x.tensor, parts);
    expect_matches(x.tensor, parts[1], format("{} tokens", num_tokens));
  }
  matmul(Stream::cpu(2), random_tensor({2, 64}, random).tensor, {});
}

TEST(Matmul, RefusesShapesThatDoNotFit) {
  std::mt19937 random(kSeed);
  const Weights weights = random_weights(DType::kQ4_0, 5, 64, 0, random);
  const Stream stream = Stream::cpu(1);
  const OwnedTensor x = random_tensor({2, 64}, random), y(Device{}, DType::kF32, {2, 5});
  const OwnedTensor narrow = random_tensor({2, 32}, random), bias = random_tensor({4}, random);
  EXPECT_THROW(matmul(stream, y.tensor, narrow.tensor, weights.matrix), Error);
  EXPECT_THROW(matmul(stream, x.tensor, x.tensor, weights.matrix), Error);
  EXPECT_THROW(matmul(stream, y.tensor, x.tensor, weights.matrix, bias.tensor), Error);
  ConstMatrix wrong = weights.matrix;
  wrong.row_stride = 18;
  EXPECT_THROW(matmul(stream, y.tensor, x.tensor, wrong), Error);
  const OwnedTensor integers(Device{}, DType::kI32, {5, 64});
  wrong = ConstMatrix{integers.tensor.raw(), DType::kI32, 5, 64, 256, Device{}};
  EXPECT_THROW(matmul(stream, y.tensor, x.tensor, wrong), Error);
}

// Ranks are threads of one process: their GEMMs run at the same time, on one copy of the library.
TEST(Matmul, RanksMayMultiplyAtTheSameTime) {
  std::mt19937 random(kSeed);
  const Weights weights = random_weights(DType::kQ4_1, 200, 96, 0, random);
  const OwnedTensor x = random_tensor({70, 96}, random), expected(Device{}, DType::kF32, {70, 200});
  matmul(Stream::cpu(1), expected.tensor, x.tensor, weights.matrix);
  std::vector<int> num_wrong(8, 0);
  {
    std::vector<std::jthread> ranks;
    for (int& wrong : num_wrong) {
      ranks.emplace_back([&] {
        const Stream stream = Stream::cpu(2);
        for (int round = 0; round < 20; ++round) {
          const OwnedTensor y(Device{}, DType::kF32, {70, 200});
          matmul(stream, y.tensor, x.tensor, weights.matrix);
          wrong += std::memcmp(y.tensor.raw(), expected.tensor.raw(), y.tensor.bytes()) != 0;
        }
      });
    }
  }
  EXPECT_EQ(num_wrong, std::vector<int>(8, 0));
}

// Debian's serial OpenBLAS hands two threads the same buffer now and then (openblas_lock.cc).
TEST(Matmul, GemmCalledByManyThreadsAtOnceStaysRight) {
  constexpr int kSize = 48;
  const std::vector<float> a(kSize * kSize, 1.f);
  const std::vector<float> b(kSize * kSize, 2.f);
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 8; ++thread) {
      threads.emplace_back([&] {
        std::vector<float> c(kSize * kSize);
        for (int call = 0; call < 3000; ++call) {
          cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, kSize, kSize, kSize, 1.f, a.data(), kSize, b.data(),
                      kSize, 0.f, c.data(), kSize);
          for (const float value : c) wrong += value != 2.f * kSize;
        }
      });
    }
  }
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace tandem
