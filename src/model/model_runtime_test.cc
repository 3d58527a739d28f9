#include "model/model_runtime.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"

namespace tandem {
namespace {

TEST(ModelRuntime, RefusesRotaryFactorsThatAreNoFactors) {
  const std::string path = std::string(TANDEM_SOURCE_DIR) + "/tests/golden/gguf/llama-rope-scaled/model.gguf";
  for (const float bad : {0.0f, -1.0f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    OpenedModel opened = open_model(path);
    ASSERT_GT(opened.rope_freq_factors.size(), 3u);
    opened.rope_freq_factors[3] = bad;
    try {
      const ModelRuntime runtime(std::move(opened), {.threads = 1});
      ADD_FAILURE() << bad << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kBadFile);
      EXPECT_NE(std::string(error.what()).find("rope_freqs.weight[3]"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace tandem
