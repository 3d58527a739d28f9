#include "kernels/gated_activation/gated_activation.h"

#include <limits>

#include "kernels/testing.h"

namespace tandem {
namespace {

double define(double x, Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    default:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  }
}

constexpr Activation kAll[] = {Activation::kSilu, Activation::kGeluTanh, Activation::kGelu};

TEST(GatedActivation, MatchesTheDefinitionInDouble) {
  const Stream stream = Stream::cpu(2);
  for_each_isa([&] {
    for (Activation activation : kAll) {
      for (float size : {0.01f, 3.0f, 100.0f}) {
        const std::vector<float> gate = random_values(3 * 4099, 1, size), up = random_values(3 * 4099, 2);
        std::vector<float> y(gate.size());
        std::vector<double> expected;
        for (std::size_t i = 0; i < gate.size(); ++i) expected.push_back(define(gate[i], activation) * up[i]);
        gated_activation(stream, tensor_of(y, {3, 4099}), tensor_of(gate, {3, 4099}), tensor_of(up, {3, 4099}),
                         activation);
        // 1 + tanh and 1 + erf cancel for negative x: their absolute error of a few eps is multiplied by |x| < 6, from
        // where on the value is 0 for f32. exp of a rounded argument up to 88 is off by 88 / 2 units in the last place,
        // and only where silu is below 1e-36; around |x| = 10 by 5.
        expect_near(y, expected, 6 * 4 * 0x1p-24, 16 * 0x1p-24);
      }
    }
  });
}

TEST(GatedActivation, BitsDependNeitherOnPlaceNorOnThreads) {
  const std::int64_t n = 40000;
  const std::vector<float> gate = random_values(n, 1, 5.0f), up = random_values(n, 2);
  for_each_isa([&] {
    for (Activation activation : kAll) {
      std::vector<float> whole(gate.size()), cut(gate.size());
      gated_activation(Stream::cpu(1), tensor_of(whole, {1, n}), tensor_of(gate, {1, n}), tensor_of(up, {1, n}),
                       activation);
      gated_activation(Stream::cpu(3), tensor_of(cut, {1, n}), tensor_of(gate, {1, n}), tensor_of(up, {1, n}),
                       activation);
      EXPECT_TRUE(same_bits(whole, cut));
      // Alone and in place.
      for (std::size_t i = 0; i < gate.size(); i += 997) {
        std::vector<float> a{gate[i]}, b{up[i]};
        gated_activation(Stream::cpu(1), tensor_of(a, {1, 1}), tensor_of(a, {1, 1}), tensor_of(b, {1, 1}), activation);
        EXPECT_EQ(a[0], whole[i]) << i;
      }
    }
  });
}

TEST(GatedActivation, NanStaysAndLargeValuesDoNotOverflow) {
  for_each_isa([] {
    for (Activation activation : kAll) {
      const std::vector<float> gate{std::numeric_limits<float>::quiet_NaN(), 1e30f, -1e30f, 1e4f, -1e4f};
      const std::vector<float> up(5, 2.0f);
      std::vector<float> y(5);
      const Shape shape{1, 5};
      gated_activation(Stream::cpu(1), tensor_of(y, shape), tensor_of(gate, shape), tensor_of(up, shape), activation);
      EXPECT_TRUE(std::isnan(y[0]));
      EXPECT_EQ(y[1], 2e30f);
      EXPECT_EQ(y[2], 0.0f);
      EXPECT_EQ(y[3], 2e4f);
      EXPECT_EQ(y[4], 0.0f);
    }
  });
}

}  // namespace
}  // namespace tandem
