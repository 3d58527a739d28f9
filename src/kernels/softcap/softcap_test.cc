#include "kernels/softcap/softcap.h"

#include <limits>

#include "kernels/testing.h"

namespace tandem {
namespace {

TEST(Softcap, IsATanhOverTheWholeRange) {
  const Stream stream = Stream::cpu(2);
  for_each_isa([&] {
    for (float size : {1e-6f, 0.5f, 40.0f, 1000.0f}) {
      std::vector<float> x = random_values(20001, 1, size);
      x.insert(x.end(), {0.0f, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()});
      std::vector<double> expected;
      for (float value : x) expected.push_back(30.0 * std::tanh(static_cast<double>(value) / 30.0));
      softcap(stream, tensor_of(x, {static_cast<std::int64_t>(x.size())}), 30.0f);
      // Division, tanh (4 units in the last place) and product, each rounded; a unit is at most 2^-23 of the value.
      expect_near(x, expected, 0, 6 * 0x1p-23);
    }
  });
}

TEST(Softcap, NanStaysWhereItIs) {
  for_each_isa([] {
    std::vector<float> x(37, 1.0f);
    x[20] = std::numeric_limits<float>::quiet_NaN();
    softcap(Stream::cpu(1), tensor_of(x, {37}), 5.0f);
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::isnan(x[i]), i == 20);
  });
}

}  // namespace
}  // namespace tandem
