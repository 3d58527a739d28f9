#include "comm/cpu/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "base/half.h"
#include "device/tensor.h"

namespace tandem {
namespace {

template <class T>
std::vector<T> reduce(const std::vector<std::vector<T>>& inputs, std::int64_t begin, std::int64_t end) {
  std::vector<const void*> in;
  for (const std::vector<T>& input : inputs) in.push_back(input.data());
  std::vector<T> out(inputs[0].size());
  void* const output = out.data();
  reduce_in_order(dtype_of<T>(), in, {&output, 1}, begin, end);
  return out;
}

TEST(ReduceInOrder, EveryF16AgreesWithTheScalarConversions) {
  // The vector path and the plain one must give the same bits: every value plus zero, and plus a bit that rounds.
  for (const float other : {0.0f, 0.0004f, 1.0f}) {
    std::vector<F16> values;
    for (unsigned i = 0; i < 65536; ++i) values.push_back({static_cast<std::uint16_t>(i)});
    const std::vector<F16> others(values.size(), to_f16(other));
    const std::vector<F16> sums = reduce<F16>({values, others}, 0, 65536);
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const F16 expected = to_f16(to_float(values[i]) + to_float(others[i]));
      if (std::isnan(to_float(expected))) {
        EXPECT_TRUE(std::isnan(to_float(sums[i]))) << i;
      } else {
        EXPECT_EQ(sums[i].bits, expected.bits) << i << " + " << other;
      }
    }
  }
}

TEST(ReduceInOrder, RoundsOnceAtTheEnd) {
  // Rounded after each addition, 256 + 1 + 1 stays 256 in bf16, whose step there is 2.
  const std::vector<BF16> big(9, to_bf16(256));
  const std::vector<BF16> one(9, to_bf16(1));
  EXPECT_EQ(to_float(reduce<BF16>({big, one, one}, 0, 9)[8]), 258);
}

TEST(ReduceInOrder, AddsInTheOrderOfInputs) {
  const std::vector<float> big{1e8f};
  const std::vector<float> minus{-1e8f};
  const std::vector<float> one{1};
  EXPECT_EQ(reduce<float>({big, minus, one}, 0, 1)[0], 1);
  EXPECT_EQ(reduce<float>({big, one, minus}, 0, 1)[0], 0);
}

TEST(ReduceInOrder, IntegersWrap) {
  const std::vector<std::int32_t> most{std::numeric_limits<std::int32_t>::max()};
  const std::vector<std::int32_t> one{1};
  EXPECT_EQ(reduce<std::int32_t>({most, one}, 0, 1)[0], std::numeric_limits<std::int32_t>::min());
}

TEST(ReduceInOrder, WritesItsRangeOnly) {
  const std::vector<float> ones(2000, 1);
  const std::vector<float> sums = reduce<float>({ones, ones}, 7, 1501);
  for (std::size_t i = 0; i < sums.size(); ++i) ASSERT_EQ(sums[i], i >= 7 && i < 1501 ? 2 : 0) << i;
}

TEST(ReduceInOrder, AnOutputMayHoldAPartOfTheSum) {
  const std::vector<float> a{1, 2, 3, 4, 5};
  const std::vector<float> b{10, 20, 30, 40, 50};
  for (const int num_inputs : {1, 2}) {
    const void* const inputs[] = {a.data(), b.data()};
    std::vector<float> part(3, -1);  // elements 2 to 4
    void* const output = part.data();
    reduce_in_order(DType::kF32, std::span(inputs).first(static_cast<std::size_t>(num_inputs)), {&output, 1}, 3, 5, 2);
    EXPECT_EQ(part, num_inputs == 1 ? (std::vector<float>{-1, 4, 5}) : (std::vector<float>{-1, 44, 55}));
  }
}

}  // namespace
}  // namespace tandem
