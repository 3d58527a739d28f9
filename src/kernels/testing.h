#pragma once
// What the tests of kernels share: tensors over vectors, reproducible values, every instruction set in turn.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "device/tensor.h"
#include "kernels/simd/isa.h"

namespace tandem {

template <class T>
Tensor tensor_of(std::vector<T>& values, Shape shape) {
  TANDEM_CHECK(shape.num_elements() == static_cast<std::int64_t>(values.size()), "{} values", values.size());
  return {values.data(), dtype_of<T>(), shape, Device{}};
}
template <class T>
ConstTensor tensor_of(const std::vector<T>& values, Shape shape) {
  TANDEM_CHECK(shape.num_elements() == static_cast<std::int64_t>(values.size()), "{} values", values.size());
  return {values.data(), dtype_of<T>(), shape, Device{}};
}

/// `count` values uniform in [-size, size), a function of (seed, place).
inline std::vector<float> random_values(std::int64_t count, std::uint32_t seed, float size = 1.0f) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = (2.0f * uniform01(philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {seed, 0})[0]) - 1.0f) * size;
  }
  return values;
}

/// Runs body() with each instruction set that this machine has.
template <class Body>
void for_each_isa(const Body& body) {
  for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    limit_isa_for_test(isa);
    if (cpu_isa() == isa) {
      SCOPED_TRACE(isa == Isa::kBaseline ? "baseline" : isa == Isa::kAvx2 ? "avx2" : "avx512");
      body();
    }
  }
  limit_isa_for_test(Isa::kAvx512);
}

/// Bit for bit, so that NaN equals NaN and 0 does not equal -0.
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

/// Expects finite values with |actual[i] - expected[i]| <= absolute + relative * |expected[i]| and prints the worst
/// place, or the first that is not finite.
inline void expect_near(const std::vector<float>& actual, const std::vector<double>& expected, double absolute,
                        double relative) {
  ASSERT_EQ(actual.size(), expected.size());
  double worst = 0;
  std::size_t worst_place = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(actual[i])) {  // a NaN compares with nothing, so it cannot be the worst
      ADD_FAILURE() << actual[i] << " at " << i << " of " << actual.size() << ", expected " << expected[i];
      return;
    }
    const double error = std::abs(static_cast<double>(actual[i]) - expected[i]);
    const double share = error == 0 ? 0 : error / (absolute + relative * std::abs(expected[i]));
    if (share > worst) {
      worst = share;
      worst_place = i;
    }
  }
  EXPECT_LE(worst, 1.0) << "worst at " << worst_place << " of " << actual.size() << ": "
                        << (actual.empty() ? 0.0f : actual[worst_place]) << ", expected "
                        << (actual.empty() ? 0.0 : expected[worst_place]);
}

}  // namespace tandem
