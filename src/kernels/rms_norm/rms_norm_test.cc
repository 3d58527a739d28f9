#include "kernels/rms_norm/rms_norm.h"

#include <limits>

#include "kernels/testing.h"

namespace tandem {
namespace {

TEST(RmsNorm, MatchesTheDefinitionOnOddWidths) {
  const Stream stream = Stream::cpu(2);
  for_each_isa([&] {
    for (std::int64_t width : {1, 7, 24, 64, 65, 576, 1031}) {
      for (float offset : {0.0f, 1.0f}) {
        const std::vector<float> x = random_values(5 * width, 1, 3.0f), weight = random_values(width, 2);
        std::vector<float> y(x.size());
        rms_norm(stream, tensor_of(y, {5, width}), tensor_of(x, {5, width}), tensor_of(weight, {width}), 1e-5f, offset);
        std::vector<double> expected;
        for (std::int64_t r = 0; r < 5; ++r) {
          const float* row = x.data() + r * width;
          double sum = 0;
          for (std::int64_t i = 0; i < width; ++i) sum += static_cast<double>(row[i]) * row[i];
          for (std::int64_t i = 0; i < width; ++i) {
            expected.push_back(row[i] / std::sqrt(sum / static_cast<double>(width) + 1e-5) *
                               (static_cast<double>(weight[static_cast<std::size_t>(i)]) + offset));
          }
        }
        // All terms of the sum are positive: each addition of a chain adds at most half a unit in the last place, the
        // root halves that, four roundings follow. weight + 1 near 0 keeps an absolute error of eps.
        const double eps = 0x1p-24;
        expect_near(y, expected, 8 * eps, (static_cast<double>(width) / 8 + 16) * eps);
      }
    }
  });
}

TEST(RmsNorm, BitsOfARowDependNeitherOnBatchNorOnThreads) {
  const std::int64_t rows = 200, width = 203;
  const std::vector<float> x = random_values(rows * width, 3), weight = random_values(width, 4);
  for_each_isa([&] {
    std::vector<float> one(x.size()), three(x.size()), in_place = x;
    const auto run = [&](int threads, std::vector<float>& y, const std::vector<float>& from) {
      rms_norm(Stream::cpu(threads), tensor_of(y, {rows, width}), tensor_of(from, {rows, width}),
               tensor_of(weight, {width}), 1e-6f, 0.0f);
    };
    run(1, one, x);
    run(3, three, x);
    run(1, in_place, in_place);
    EXPECT_TRUE(same_bits(one, three));
    EXPECT_TRUE(same_bits(one, in_place));
    std::vector<float> row(x.begin() + 77 * width, x.begin() + 78 * width);
    rms_norm(Stream::cpu(1), tensor_of(row, {1, 1, width}), tensor_of(row, {1, 1, width}), tensor_of(weight, {width}),
             1e-6f, 0.0f);
    EXPECT_TRUE(same_bits(row, {one.begin() + 77 * width, one.begin() + 78 * width}));
  });
}

TEST(RmsNorm, NanPoisonsItsRowAlone) {
  for_each_isa([] {
    std::vector<float> x(3 * 20, 1.0f);
    const std::vector<float> weight(20, 1.0f);
    x[25] = std::numeric_limits<float>::quiet_NaN();
    rms_norm(Stream::cpu(1), tensor_of(x, {3, 20}), tensor_of(x, {3, 20}), tensor_of(weight, {20}), 0.0f, 0.0f);
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::isnan(x[i]), i / 20 == 1) << i;
  });
}

TEST(RmsNorm, NoRowsAreLegal) {
  std::vector<float> none, weight(8);
  rms_norm(Stream::cpu(1), tensor_of(none, {0, 8}), tensor_of(none, {0, 8}), tensor_of(weight, {8}), 1e-6f, 0.0f);
  EXPECT_THROW(rms_norm(Stream::cpu(1), tensor_of(none, {0, 8}), tensor_of(none, {0, 8}), tensor_of(weight, {4, 2}),
                        1e-6f, 0.0f),
               Error);
}

}  // namespace
}  // namespace tandem
