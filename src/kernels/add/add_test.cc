#include "kernels/add/add.h"

#include "kernels/testing.h"

namespace tandem {
namespace {

TEST(Add, AddsEveryElementOnAnyThreads) {
  for (std::int64_t count : {0, 1, 15, 33, 70001}) {
    const std::vector<float> x = random_values(count, 1), y = random_values(count, 2);
    std::vector<float> expected = x;
    for (std::size_t i = 0; i < x.size(); ++i) expected[i] += y[i];
    for_each_isa([&] {
      for (int threads : {1, 2, 3}) {
        std::vector<float> sum = x;
        add(Stream::cpu(threads), tensor_of(sum, {count}), tensor_of(y, {count}));
        EXPECT_TRUE(same_bits(sum, expected)) << count << " elements, " << threads << " threads";
      }
    });
  }
}

TEST(Add, RefusesOtherShapes) {
  std::vector<float> x(6), y(6);
  EXPECT_THROW(add(Stream::cpu(1), tensor_of(x, {2, 3}), tensor_of(y, {3, 2})), Error);
}

}  // namespace
}  // namespace tandem
