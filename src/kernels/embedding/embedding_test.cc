#include "kernels/embedding/embedding.h"

#include "kernels/testing.h"

namespace tandem {
namespace {

TEST(Embedding, RanksLookUpTheirOwnRowsAndAddUpToTheWhole) {
  const std::int64_t vocabulary = 200, hidden = 48, stride = 50 * sizeof(float);
  const std::vector<float> weights = random_values(vocabulary * 50, 1);
  const ConstMatrix table{weights.data(), DType::kF32, vocabulary, hidden, stride, Device{}};
  std::vector<std::int32_t> ids;
  for (std::int32_t t = 0; t < 500; ++t) ids.push_back(t * 77 % 200);
  const std::int64_t n = static_cast<std::int64_t>(ids.size());
  std::vector<float> expected, sum(static_cast<std::size_t>(n * hidden));
  for (std::int32_t id : ids) {
    for (std::int64_t i = 0; i < hidden; ++i) expected.push_back(weights[static_cast<std::size_t>(id * 50 + i)] * 3.0f);
  }
  for (const auto& [begin, end] : std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 64}, {64, 64}, {64, 200}}) {
    std::vector<float> part(sum.size(), 9.0f);
    embedding(Stream::cpu(3), tensor_of(part, {n, hidden}), table.slice(begin, end, 0, hidden), begin,
              tensor_of(ids, {n}), 3.0f);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
  }
  EXPECT_TRUE(same_bits(sum, expected));
}

TEST(Embedding, ReadsQuantisedAndHalfRows) {
  // Two rows of one Q8_0 block: scale 0.5 (f16 0x3800) and the numbers i - 16; scale 2 (0x4000) and -i.
  std::vector<std::uint8_t> blocks;
  for (int row = 0; row < 2; ++row) {
    blocks.insert(blocks.end(), {0, static_cast<std::uint8_t>(row == 0 ? 0x38 : 0x40)});
    for (int i = 0; i < 32; ++i) blocks.push_back(static_cast<std::uint8_t>(row == 0 ? i - 16 : -i));
  }
  const std::vector<std::int32_t> ids{11, 10, 12, 9};
  std::vector<float> out(4 * 32, 7.0f);
  embedding(Stream::cpu(1), tensor_of(out, {4, 32}), {blocks.data(), DType::kQ8_0, 2, 32, 34, Device{}}, 10,
            tensor_of(ids, {4}), 1.0f);
  for (int i = 0; i < 32; ++i) {
    const std::size_t at = static_cast<std::size_t>(i);
    EXPECT_EQ(out[at], -2.0f * static_cast<float>(i));
    EXPECT_EQ(out[32 + at], 0.5f * static_cast<float>(i - 16));
    EXPECT_EQ(out[64 + at], 0.0f);
    EXPECT_EQ(out[96 + at], 0.0f);
  }
}

TEST(Embedding, NoTokensAreLegal) {
  std::vector<float> none;
  std::vector<std::int32_t> no_ids;
  embedding(Stream::cpu(1), tensor_of(none, {0, 32}), {nullptr, DType::kF32, 0, 32, 128, Device{}}, 0,
            tensor_of(no_ids, {0}), 1.0f);
}

}  // namespace
}  // namespace tandem
