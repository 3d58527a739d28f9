#include "kernels/sample/sample.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/testing.h"

namespace tandem {
namespace {

std::int32_t draw(std::vector<float> logits, const SamplingParams& params, std::uint64_t counter,
                  std::vector<std::int32_t> history = {}) {
  static const Stream stream = Stream::cpu(1);
  return sample(stream, tensor_of(logits, {static_cast<std::int64_t>(logits.size())}), history, params, counter);
}

// Hugging Face's processors one by one over whole sorted arrays, in double: the probability of every token.
std::vector<double> oracle(const std::vector<float>& logits, const SamplingParams& params,
                           const std::vector<std::int32_t>& history) {
  const std::size_t n = logits.size();
  const double removed = -std::numeric_limits<double>::infinity();
  std::vector<double> s(logits.begin(), logits.end());
  for (std::int32_t id : history) {
    const double from = logits[static_cast<std::size_t>(id)];
    s[static_cast<std::size_t>(id)] = from < 0 ? from * params.repetition_penalty : from / params.repetition_penalty;
  }
  for (double& x : s) x /= params.temperature;
  const auto softmax = [&] {
    const double top = *std::max_element(s.begin(), s.end());
    std::vector<double> p;
    double sum = 0;
    for (double x : s) sum += p.emplace_back(std::exp(x - top));
    for (double& x : p) x /= sum;
    return p;
  };
  if (params.top_k > 0 && static_cast<std::size_t>(params.top_k) < n) {
    std::vector<double> sorted = s;
    std::sort(sorted.rbegin(), sorted.rend());
    for (double& x : s) {
      if (x < sorted[static_cast<std::size_t>(params.top_k - 1)]) x = removed;
    }
  }
  if (params.top_p < 1) {
    const std::vector<double> p = softmax();
    std::vector<std::size_t> ascending(n);
    std::iota(ascending.rbegin(), ascending.rend(), 0);
    std::stable_sort(ascending.begin(), ascending.end(), [&](std::size_t a, std::size_t b) { return s[a] < s[b]; });
    double cumulative = 0;
    for (std::size_t i = 0; i + 1 < n; ++i) {
      cumulative += p[ascending[i]];
      if (cumulative <= 1 - static_cast<double>(params.top_p)) s[ascending[i]] = removed;
    }
  }
  const std::vector<double> p = softmax();
  const double likeliest = *std::max_element(p.begin(), p.end());
  for (std::size_t i = 0; i < n; ++i) {
    if (p[i] < params.min_p * likeliest) s[i] = removed;
  }
  return softmax();
}

TEST(Sample, GreedyTakesTheLowestOfTheLargest) {
  SamplingParams greedy{.temperature = 0};
  EXPECT_EQ(draw({1, 3, 2, 3, -1}, greedy, 0), 1);
  EXPECT_EQ(draw({-2}, greedy, 0), 0);
  greedy.repetition_penalty = 2;
  EXPECT_EQ(draw({1, 3, 2, 2.5f, -1}, greedy, 0, {1, 1, 1}), 3);
  EXPECT_EQ(draw({-1, -1.5f}, greedy, 0, {0}), 1);  // a negative logit is multiplied
}

TEST(Sample, TheLowestTemperaturesAreGreedy) {
  const std::vector<float> logits = random_values(1000, 11, 4.0f);
  const std::int32_t greedy = draw(logits, {.temperature = 0}, 0);
  for (const float temperature : {1e-30f, 1e-38f, std::numeric_limits<float>::denorm_min()}) {
    for (const SamplingParams& params : {SamplingParams{}, SamplingParams{.top_k = 40}, SamplingParams{.top_p = 0.9f},
                                         SamplingParams{.min_p = 0.1f}}) {
      SamplingParams cold = params;
      cold.temperature = temperature;
      EXPECT_EQ(draw(logits, cold, 0), greedy) << temperature;
    }
  }
  const float most = std::numeric_limits<float>::max();
  EXPECT_EQ(draw({-most, most, 0}, {.temperature = 0.5f}, 0), 1);
}

TEST(Sample, AnExtremePenaltyStillDecides) {
  for (const float temperature : {0.0f, 0.7f, 1e-38f}) {
    const SamplingParams bonus{.temperature = temperature, .repetition_penalty = 1e-38f};
    EXPECT_EQ(draw({5, 1, 20, 3}, bonus, 0, {1}), 1);
    const SamplingParams penalty{.temperature = temperature, .repetition_penalty = 3e38f};
    EXPECT_EQ(draw({-5, -1000}, penalty, 0, {0}), 1);
  }
}

TEST(Sample, DrawsTheTokenOfTheDefinition) {
  std::vector<float> logits = random_values(300, 7, 4.0f);
  for (std::size_t i = 0; i < logits.size(); i += 3) logits[i] = std::round(logits[i] * 2) / 2;  // ties
  const std::vector<std::int32_t> history{5, 9, 9, 250, 5};
  std::vector<SamplingParams> all;
  for (std::int32_t top_k : {0, 1, 7, 40, 1000}) {
    for (float top_p : {1.0f, 0.9f, 0.3f, 1e-6f}) {
      for (float min_p : {0.0f, 0.2f, 1.0f}) {
        all.push_back({.temperature = 0.8f,
                       .top_k = top_k,
                       .top_p = top_p,
                       .min_p = min_p,
                       .repetition_penalty = 1.3f,
                       .seed = (std::uint64_t{1} << 32) + 99});
      }
    }
  }
  for (const SamplingParams& params : all) {
    SCOPED_TRACE(format("top_k {}, top_p {}, min_p {}", params.top_k, params.top_p, params.min_p));
    const std::vector<double> p = oracle(logits, params, history);
    int compared = 0;
    for (std::uint32_t counter = 0; counter < 100; ++counter) {
      const auto words = philox({counter, 0, 0x73616d70, 0}, {99, 1});
      const double uniform = static_cast<double>((std::uint64_t{words[0]} << 32 | words[1]) >> 11) * 0x1p-53;
      double cumulated = 0, distance = 1;
      std::int32_t expected = -1;
      for (std::size_t i = 0; i < p.size(); ++i) {
        cumulated += p[i];
        distance = std::min(distance, std::abs(cumulated - uniform));
        if (expected < 0 && uniform < cumulated) expected = static_cast<std::int32_t>(i);
      }
      if (distance < 1e-6) continue;  // f32 weights: 300 roundings of 2^-24 may decide otherwise
      EXPECT_EQ(draw(logits, params, counter, history), expected);
      ++compared;
    }
    EXPECT_GT(compared, 95);
  }
}

TEST(Sample, FrequenciesFollowTheProbabilities) {
  const std::vector<float> logits{0.0f, 1.0f, -1.0f, 2.0f, 0.5f, -3.0f};
  const SamplingParams params{.temperature = 1.5f, .seed = 12345};
  const std::vector<double> p = oracle(logits, params, {});
  constexpr int kDraws = 200000;
  std::vector<int> drawn(logits.size());
  for (int i = 0; i < kDraws; ++i)
    ++drawn[static_cast<std::size_t>(draw(logits, params, static_cast<std::uint64_t>(i)))];
  double chi_squared = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    chi_squared += (drawn[i] - p[i] * kDraws) * (drawn[i] - p[i] * kDraws) / (p[i] * kDraws);
  }
  EXPECT_LT(chi_squared, 20.5);  // 5 degrees of freedom: passed with probability 0.999 by a right sampler
}

TEST(Sample, TheDrawDependsOnSeedAndCounterAlone) {
  const std::vector<float> logits = random_values(1000, 3);
  const auto sequence = [&](std::uint64_t seed) {
    std::vector<std::int32_t> ids;
    for (std::uint64_t i = 0; i < 20; ++i) ids.push_back(draw(logits, {.seed = seed}, i + (std::uint64_t{1} << 32)));
    return ids;
  };
  EXPECT_EQ(sequence(1), sequence(1));
  EXPECT_NE(sequence(1), sequence(2));
  EXPECT_NE(sequence(1), sequence(1 + (std::uint64_t{1} << 32)));
}

TEST(Sample, ManyTokensTakeTheSamePathAsFew) {
  // A vocabulary of full size whose candidates are known.
  std::vector<float> logits = random_values(128000, 5);
  const std::vector<std::int32_t> likely{100000, 3, 64001, 127999};
  for (std::size_t i = 0; i < likely.size(); ++i)
    logits[static_cast<std::size_t>(likely[i])] = 30.0f + static_cast<float>(i);
  for (std::uint64_t i = 0; i < 20; ++i) {
    for (const SamplingParams& params :
         {SamplingParams{.top_k = 4}, SamplingParams{.top_p = 0.99f}, SamplingParams{}}) {
      EXPECT_NE(std::find(likely.begin(), likely.end(), draw(logits, params, i)), likely.end());
    }
  }
}

TEST(Sample, NamesTheFirstLogitThatIsNotFinite) {
  for_each_isa([] {
    for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                      -std::numeric_limits<float>::infinity()}) {
      std::vector<float> logits(100, 1.0f);
      logits[97] = logits[98] = bad;
      try {
        draw(logits, {}, 0);
        FAIL();
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kInternal);
        EXPECT_NE(std::string(error.what()).find("logit 97 of 100"), std::string::npos) << error.what();
      }
    }
  });
}

TEST(Sample, RefusesParametersOutOfRange) {
  const std::vector<float> logits(10);
  for (const SamplingParams& params :
       {SamplingParams{.temperature = -1}, SamplingParams{.temperature = std::numeric_limits<float>::quiet_NaN()},
        SamplingParams{.top_k = -1}, SamplingParams{.top_p = 0}, SamplingParams{.top_p = 1.1f},
        SamplingParams{.min_p = 2}, SamplingParams{.repetition_penalty = 0}}) {
    EXPECT_THROW(draw(logits, params, 0), Error);
  }
  EXPECT_THROW(draw(logits, {.repetition_penalty = 2}, 0, {10}), Error);
}

}  // namespace
}  // namespace tandem
