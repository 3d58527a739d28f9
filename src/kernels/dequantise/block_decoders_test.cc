#include "kernels/dequantise/block_decoders.h"

#include "kernels/dequantise/block_samples.h"
#include "kernels/dequantise/dequantise.h"
#include "kernels/testing.h"

namespace tandem {
namespace {

TEST(BlockDecoders, GiveWhatDequantiseRowGives) {
  for (const DType dtype : kBlockFormats) {
    constexpr std::int64_t kBlocks = 50;
    const std::vector<std::byte> bytes = random_blocks(dtype, kBlocks, 3);
    const bool known = blocks::with_format(dtype, [&]<class Format>() {
      EXPECT_EQ(Format::kSize, dtype_info(dtype).block_size);
      EXPECT_EQ(Format::kBytes, dtype_info(dtype).block_bytes);
      std::vector<float> expected(kBlocks * Format::kSize), decoded;
      dequantise_row(expected.data(), bytes.data(), dtype, kBlocks * Format::kSize);
      for (std::int64_t b = 0; b < kBlocks; ++b) {
        for (int i = 0; i < Format::kSize; i += 8) {
          float eight[8];
          Format::decode8(eight, bytes.data() + b * Format::kBytes, i);
          decoded.insert(decoded.end(), eight, eight + 8);
        }
      }
      EXPECT_TRUE(same_bits(decoded, expected)) << to_string(dtype);
    });
    EXPECT_TRUE(known) << to_string(dtype);
  }
  EXPECT_FALSE(blocks::with_format(DType::kBF16, []<class>() {}));
}

}  // namespace
}  // namespace tandem
