#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/random.h"
#include "weights/dummy/dummy_values.h"
#include "weights/weight_source.h"
#include "weights/weights_testing.h"

namespace tandem {
namespace {

using test::expect_error;

const std::vector<DummyTensor> kTensors = {
    {"w", DType::kBF16, {37, 45}, DummyKind::kMatrix},     {"e", DType::kBF16, {3, 11, 24}, DummyKind::kMatrix},
    {"norm", DType::kBF16, {1000}, DummyKind::kNorm},      {"embed", DType::kF32, {100, 64}, DummyKind::kSmall},
    {"half", DType::kF16, {64, 4096}, DummyKind::kMatrix},
};

/// The definition in dummy_values.h, spelled out.
float defined_value(std::uint64_t seed, std::string_view name, float mean, float scale, std::int64_t index) {
  const std::uint64_t group = static_cast<std::uint64_t>(index) / 8;
  const std::uint64_t hash = dummy_name_hash(name);
  const auto words = philox({static_cast<std::uint32_t>(group), static_cast<std::uint32_t>(group >> 32),
                             static_cast<std::uint32_t>(hash), static_cast<std::uint32_t>(hash >> 32)},
                            {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  const std::int64_t part = index % 8;
  const auto lane = static_cast<int>((words[static_cast<std::size_t>(part / 2)] >> (16 * (part % 2))) & 0xffff);
  return mean + scale * (static_cast<float>(2 * lane - 65535) / 65536.0f);
}

TEST(Dummy, FollowsItsDefinitionAtAnyBeginAndEnd) {
  const DummyStream stream{(std::uint64_t{7} << 40) + 5, dummy_name_hash("w"), {0.0f, 0.25f}};
  for (const std::int64_t base : {std::int64_t{0}, std::int64_t{8} << 32}) {  // counters above 32 bits, too
    for (std::int64_t begin = 0; begin < 18; ++begin) {
      for (std::int64_t end = begin; end < 300; end += end < 35 ? 1 : 53) {
        std::vector<float> drawn(static_cast<std::size_t>(end - begin) + 1, 99.0f);
        fill_dummy(stream, DType::kF32, drawn.data(), base + begin, base + end);
        for (std::int64_t i = begin; i < end; ++i) {
          ASSERT_EQ(drawn[static_cast<std::size_t>(i - begin)], defined_value(stream.seed, "w", 0.0f, 0.25f, base + i));
        }
        ASSERT_EQ(drawn.back(), 99.0f) << "written past the end";
      }
    }
  }
}

TEST(Dummy, EverySplitHoldsTheSameBits) {
  const auto source = open_dummy("dummy:test", kTensors, 42);
  const Stream one = Stream::cpu(1);
  const Stream three = Stream::cpu(3, 1);
  for (const char* name : {"w", "e", "half"}) {
    const TensorEntry& entry = source->catalogue().at(name);
    const int num_dims = entry.shape.num_dims();
    const std::int64_t rows = entry.shape[num_dims - 2];
    const std::int64_t cols = entry.shape[num_dims - 1];
    const std::int64_t expert = num_dims == 3 ? 2 : 0;
    const LoadedMatrix whole = source->load_matrix(one, entry, {.expert = expert, .row_end = rows, .col_end = cols});
    for (const int world_size : {2, 3, 5}) {
      for (int rank = 0; rank < world_size; ++rank) {
        const MatrixRange range{.expert = expert,
                                .row_begin = rows * rank / world_size,
                                .row_end = rows * (rank + 1) / world_size,
                                .col_begin = cols * (world_size - 1 - rank) / world_size,
                                .col_end = cols * (world_size - rank) / world_size};
        const LoadedMatrix part = source->load_matrix(three, entry, range);
        const ConstMatrix same = whole.matrix.slice(range.row_begin, range.row_end, range.col_begin, range.col_end);
        for (std::int64_t r = 0; r < same.rows; ++r) {
          ASSERT_EQ(std::memcmp(part.matrix.row(r), same.row(r), dtype_bytes(entry.dtype, same.cols)), 0)
              << name << " row " << r << ", rank " << rank << " of " << world_size;
        }
      }
    }
  }
  const TensorEntry& norm = source->catalogue().at("norm");
  const OwnedTensor all = source->load_vector(one, norm, 0, 1000);
  const OwnedTensor part = source->load_vector(three, norm, 333, 700);
  EXPECT_EQ(std::memcmp(part.tensor.raw(), all.tensor.data<float>() + 333, part.tensor.bytes()), 0);
}

TEST(Dummy, ValuesHaveTheSpreadOfTheirKind) {
  const auto source = open_dummy("dummy:test", kTensors, 1);
  const Stream stream = Stream::cpu(2);
  const LoadedMatrix half =
      source->load_matrix(stream, source->catalogue().at("half"), {.row_end = 64, .col_end = 4096});
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < 64 * 4096; ++i) {
    const double x = to_float(static_cast<const F16*>(half.matrix.data)[i]);
    sum += x;
    squares += x * x;
  }
  const double n = 64 * 4096;
  const double sigma = 1 / std::sqrt(4096.0);
  EXPECT_NEAR(sum / n, 0, 5 * sigma / std::sqrt(n));  // five standard errors of the mean
  // A uniform distribution's fourth moment is 1.8 sigma^4, so the squares' standard error is sqrt(0.8 / n) sigma^2; f16
  // rounding is unbiased and far below.
  EXPECT_NEAR(squares / n / (sigma * sigma), 1, 5 * std::sqrt(0.8 / n));

  const OwnedTensor norm = source->load_vector(stream, source->catalogue().at("norm"), 0, 1000);
  for (int i = 0; i < 1000; ++i) EXPECT_NEAR(norm.tensor.data<float>()[i], 1.0f, 0.0626f);
}

TEST(Dummy, SeedsAndNamesGiveOtherValues) {
  const Stream stream = Stream::cpu(1);
  std::vector<TensorEntry> drawn;
  std::vector<std::vector<char>> values;
  for (const std::uint64_t seed : {1u, 2u}) {
    const auto source = open_dummy("d", {{"a", DType::kF32, {1, 16}}, {"b", DType::kF32, {1, 16}}}, seed);
    for (const TensorEntry& entry : source->catalogue().entries()) {
      const LoadedMatrix matrix = source->load_matrix(stream, entry, {.row_end = 1, .col_end = 16});
      const char* bytes = static_cast<const char*>(matrix.matrix.data);
      values.emplace_back(bytes, bytes + 64);
    }
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(values[i], values[j]);
  }
}

TEST(Dummy, RefusesWhatItCannotDraw) {
  expect_error(ErrorKind::kUnsupported, {"dummy:x", "q4_0"},
               [] { open_dummy("dummy:x", {{"a", DType::kQ4_0, {1, 32}}}, 0); });
  expect_error(ErrorKind::kBadFile, {"\"a\""}, [] { open_dummy("d", {{"a"}, {"a"}}, 0); });
  const auto source = open_dummy("d", kTensors, 0);
  const Stream stream = Stream::cpu(1);
  expect_error(ErrorKind::kInternal, {"\"w\""},
               [&] { source->load_matrix(stream, source->catalogue().at("w"), {.row_end = 38, .col_end = 1}); });
  const LoadedMatrix none = source->load_matrix(stream, source->catalogue().at("w"), {.row_end = 3});
  EXPECT_EQ(none.matrix.bytes(), 0u);
}

}  // namespace
}  // namespace tandem
