#include "kernels/dequantise/quads.h"

#include <random>

#include "kernels/dequantise/dequantise.h"
#include "kernels/testing.h"

namespace tandem {
namespace {

// All bytes are random, so all bits of scales and elements are told apart; NaN scales give NaN in both.
TEST(Quads, HaveTheBitsOfDequantiseRow) {
  std::mt19937 random(20240229);
  for (const DType dtype : {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ4_K,
                            DType::kQ5_K, DType::kQ6_K}) {
    SCOPED_TRACE(to_string(dtype));
    ASSERT_EQ(quantised_block_bytes(dtype), dtype_info(dtype).block_bytes);
    const std::int64_t cols = 1536;
    std::vector<std::uint8_t> row(dtype_bytes(dtype, cols));
    for (std::uint8_t& byte : row) byte = static_cast<std::uint8_t>(random());
    std::vector<float> expected(static_cast<std::size_t>(cols)), actual(expected.size(), -1.0f);
    dequantise_row(expected.data(), reinterpret_cast<const std::byte*>(row.data()), dtype, cols);
    const bool known = dispatch_quantised(
        dtype,
        [&]<DType kType>() {
          for (std::int64_t step = 0; step < cols / kStepCols; ++step) {
            for (int t = 0; t < kLanesOfStep; ++t) {
              const Quads quads = unpack_quads<kType>(load_quads<kType>(row.data(), step, t), step, t);
              for (int h = 0; h < 2; ++h) {
                for (int i = 0; i < 4; ++i) {
                  actual[static_cast<std::size_t>(step * kStepCols + quad_col(t, h, i))] =
                      quad_value<kType>(quads, h, i);
                }
              }
            }
          }
          return true;
        },
        false);
    ASSERT_TRUE(known);
    for (std::size_t c = 0; c < expected.size(); ++c) {
      if (std::isnan(expected[c])) {
        EXPECT_TRUE(std::isnan(actual[c])) << c;
      } else {
        EXPECT_EQ(actual[c], expected[c]) << c;
      }
    }
  }
}

}  // namespace
}  // namespace tandem
