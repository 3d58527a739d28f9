#include "kernels/dequantise/dequantise.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <string_view>
#include <vector>

#include "device/buffer.h"

namespace tandem {
namespace {

struct Case {
  DType dtype;
  std::string_view block;  // hexadecimal
  int step;                // `expected` holds every step-th element
  std::vector<float> expected;
};

// Random blocks and their values after gguf.quants.dequantize (PyPI gguf).
const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {DType::kQ4_0,
       "66bce5f1a94106a0956a26afbccdafe562f9",
       3,
       {0x1.a64p+1f, 0x1.ecap+2f, 0x1.a64p+1f, -0x1.ecap+2f, -0x1.ecap+2f, -0x1.198p+0f, -0x1.198p+1f, -0x1.198p+1f,
        0x1.a64p+2f, -0x1.198p+2f, 0x1.198p+1f}},
      {DType::kQ4_1,
       "eabf243d4551370e99b2d74c3427fa48d732a1df",
       3,
       {-0x1.137p+3f, -0x1.a6ap+4f, -0x1.921p+3f, -0x1.921p+3f, -0x1.921p+3f, -0x1.c648p+4f, -0x1.29ap+2f,
        -0x1.47a8p+4f, -0x1.29ap+2f, -0x1.a84p+2f, -0x1.28p+4f}},
      {DType::kQ5_0,
       "17bba621f9bd0ccc21397c1ec795ca7748dc03d17a88",
       3,
       {0x1.c5cp+1f, 0x1.8d08p+2f, 0x1.fe78p+2f, 0x1.fe78p+2f, 0x1.70acp+3f, 0x1.c5cp+2f, 0x1.8d08p+3f, -0x1.c5cp-1f,
        -0x1.545p+3f, -0x1.70acp+3f, 0x1.fe78p+2f}},
      {DType::kQ5_1,
       "d932ee3f1f223f4192c58efd5185f0711ef7677a1f132a81",
       3,
       {0x1.7564p+2f, 0x1.0605p+3f, 0x1.fb8p+0f, 0x1.b9dep+2f, 0x1.4c4ep+2f, 0x1.1924p+1f, 0x1.c79p+2f, 0x1.c79p+2f,
        0x1.67b2p+2f, 0x1.bd7cp+1f, 0x1.7564p+2f}},
      {DType::kQ8_0,
       "3437c3ce3be4ebcab72f45b35223479f6e794d57037e2cfde9e15a7789781e3721a5",
       3,
       {-0x1.b764p+4f, -0x1.936p+3f, -0x1.06eap+5f, -0x1.1552p+5f, 0x1.ff6cp+4f, 0x1.b3cap+5f, 0x1.59cp+0f,
        -0x1.59cp+0f, 0x1.4424p+5f, 0x1.b03p+5f, 0x1.db68p+3f}},
      {DType::kQ4_K,
       "163e03291bdc5d1d8fc83f0b0bb4db71be572209851d3d24f4c0cf83fe4363f82f4759778955f6ced681cbea7179ced2c8f8"
       "14a13472ff70ce369d8385452a44f318337f08cd1e614f235d3f83bc45fee9ee0403a79be118544441317c9311f85e0429b1"
       "9f7ec0e156f65a3322e791b880ee995e3f0d307d2fbaf400693a179e0d027ed4e58be7a9ebc28a271d43a788",
       23,
       {0x1.1f4454p+9f, 0x1.1f4454p+9f, 0x1.fe97ap+7f, 0x1.571e18p+6f, 0x1.03ce0cp+7f, 0x1.346e3ep+8f, 0x1.ef78p+3f,
        0x1.145528p+10f, 0x1.89469ep+8f, 0x1.1f4e58p+9f, 0x1.12958p+2f, 0x1.73f58p+2f}},
      {DType::kQ5_K,
       "2bbc3db6869793f0aad6ded8116e3ab51681c4a374fec70a68b3e4bdc92b387987416c17ec90963ec766888ab4b80eba7c5c"
       "fd81121bea9cee1810dfd5169faf26cd7b5c30c8aba44d972299e8c7b41b9a1d2b0f180600a974d63b6332202c998e82b252"
       "2c49c4394c7d73265b6aaf61b288fbd0aecfa766616223611e764c93aa388ffabd0a6a6412b209971e2d827076f7e49ab8fa"
       "197271be53a3442b128cdad72bad0f8aeef42a0b9a26d74fc78f",
       23,
       {-0x1.d52fp+5f, -0x1.143cp+3f, -0x1.9e3acp+7f, -0x1.a7db2p+8f, -0x1.056c3p+9f, -0x1.e171p+7f, -0x1.6929cp+6f,
        -0x1.6a662p+8f, -0x1.ae0ap+4f, -0x1.2d5fe4p+10f, -0x1.c9ea68p+9f, -0x1.0e6084p+10f}},
      {DType::kQ6_K,
       "2562b87049307fd37899c118819af6674394c3f7aa5f93f32c810a37ca7bf1013ccdf8ab8ab4a6039954e84cbe3b3f7f1183"
       "c3df8375c517b4e786a9aadf7488f892b12191387ad86aca56d8531c927b931fe8f16e795b9b331767e712dbe8f5331dd991"
       "7f01e64710dd3c25f4d21690a049453135550ec0193a8bed1783d53ec944658d1d28960c44b0382e93438e60788d51e279a1"
       "31f8130b3ea4bd2f5d95e57bd791436d840f4e6654608135bbfb885d346959a49b36402a4f3dcc489fb6511fbe09e5d72bf8"
       "34e04fe028ca49911932",
       23,
       {-0x1.53903p+7f, -0x1.569cbp+7f, -0x1.85de7p+8f, -0x1.ede9p+3f, -0x1.b581cp+7f, -0x1.61aap+5f, -0x1.01a04p+8f,
        0x1.8764bp+7f, 0x1.187ep+7f, 0x1.5e9d8p+7f, 0x1.857cep+7f, 0x1.526b8p+7f}},
  };
  return kCases;
}

std::vector<std::byte> from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(digit(hex[i]) * 16 + digit(hex[i + 1])));
  }
  return bytes;
}

TEST(DequantiseRow, MatchesReferenceValuesBitForBit) {
  for (const Case& c : cases()) {
    const std::vector<std::byte> block = from_hex(c.block);
    const DTypeInfo& info = dtype_info(c.dtype);
    ASSERT_EQ(block.size(), static_cast<std::size_t>(info.block_bytes)) << info.name;
    // Two blocks, at an odd address: nothing is aligned in a file.
    std::vector<std::byte> blocks(1);
    blocks.insert(blocks.end(), block.begin(), block.end());
    blocks.insert(blocks.end(), block.begin(), block.end());
    std::vector<float> out(static_cast<std::size_t>(2 * info.block_size));
    dequantise_row(out.data(), blocks.data() + 1, c.dtype, 2 * info.block_size);
    for (int half = 0; half < 2; ++half) {
      for (std::size_t i = 0; i < c.expected.size(); ++i) {
        const std::size_t at = static_cast<std::size_t>(half * info.block_size) + i * static_cast<std::size_t>(c.step);
        EXPECT_EQ(out[at], c.expected[i]) << info.name << " element " << at;
      }
    }
  }
}

TEST(DequantiseRow, WidensPlainFloats) {
  const std::uint16_t f16[] = {0x3c00, 0xc000, 0x0001, 0x7c00};
  const std::uint16_t bf16[] = {0x3f80, 0xc000, 0x0001, 0x7f80};
  float out[4];
  dequantise_row(out, reinterpret_cast<const std::byte*>(f16), DType::kF16, 4);
  EXPECT_EQ(std::vector<float>(out, out + 4),
            (std::vector<float>{1.f, -2.f, 0x1p-24f, std::numeric_limits<float>::infinity()}));
  dequantise_row(out, reinterpret_cast<const std::byte*>(bf16), DType::kBF16, 4);
  EXPECT_EQ(std::vector<float>(out, out + 4),
            (std::vector<float>{1.f, -2.f, std::bit_cast<float>(0x10000u), std::numeric_limits<float>::infinity()}));
}

TEST(DequantiseRow, RefusesIntegersAndBrokenBlocks) {
  std::byte bytes[64]{};
  float out[64];
  EXPECT_THROW(dequantise_row(out, bytes, DType::kI32, 4), Error);
  EXPECT_THROW(dequantise_row(out, bytes, DType::kQ4_0, 33), Error);
}

TEST(Dequantise, FollowsTheRowStride) {
  const Case& c = cases()[1];
  const std::vector<std::byte> block = from_hex(c.block);
  std::vector<std::byte> rows(block.size() * 6);  // three rows of two blocks, of which the second is the shard
  for (std::size_t r = 0; r < 3; ++r) std::copy(block.begin(), block.end(), rows.begin() + (2 * r + 1) * block.size());
  const ConstMatrix whole{rows.data(), c.dtype, 3, 64, 2 * block.size(), Device{}};
  for (int num_threads : {1, 2}) {
    const OwnedTensor out(Device{}, DType::kF32, {3, 32});
    dequantise(Stream::cpu(num_threads), out.tensor, whole.slice(0, 3, 32, 64));
    for (std::int64_t r = 0; r < 3; ++r) {
      for (std::size_t i = 0; i < c.expected.size(); ++i) {
        EXPECT_EQ(out.tensor.data<float>()[32 * r + c.step * static_cast<std::int64_t>(i)], c.expected[i]);
      }
    }
  }
  EXPECT_THROW(dequantise(Stream::cpu(1), OwnedTensor(Device{}, DType::kF32, {2, 32}).tensor, whole), Error);
}

TEST(Dequantise, AcceptsNothing) {
  const OwnedTensor out(Device{}, DType::kF32, {0, 32});
  dequantise(Stream::cpu(2), out.tensor, ConstMatrix{nullptr, DType::kQ8_0, 0, 32, 34, Device{}});
  const OwnedTensor empty(Device{}, DType::kF32, {4, 0});
  dequantise(Stream::cpu(2), empty.tensor, ConstMatrix{nullptr, DType::kQ8_0, 4, 0, 34, Device{}});
}

}  // namespace
}  // namespace tandem
