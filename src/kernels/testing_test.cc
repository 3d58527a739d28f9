#include "kernels/testing.h"

#include <gtest/gtest-spi.h>

#include <limits>

namespace tandem {
namespace {

TEST(ExpectNear, FailsOnNotANumberWhereverItStands) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<double> expected = {1, 2, 3};
  expect_near({1, 2, 3}, expected, 0, 1e-6);
  for (std::size_t place = 0; place < 3; ++place) {
    std::vector<float> actual = {1, 2, 3};
    actual[place] = nan;
    EXPECT_NONFATAL_FAILURE(expect_near(actual, expected, 0, 1e-6), "nan at " + std::to_string(place) + " of 3");
  }
}

}  // namespace
}  // namespace tandem
