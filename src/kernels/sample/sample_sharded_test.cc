#include "kernels/sample/sample_sharded.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "kernels/sample/sample_testing.h"

namespace tandem {
namespace {

constexpr int kWorlds[] = {1, 2, 3, 5, 8, 16};

std::int32_t sample_whole(std::vector<float> logits, const std::vector<std::int32_t>& history,
                          const SamplingParams& params, std::uint64_t counter) {
  static const Stream stream = Stream::cpu(1);
  return sample(stream, tensor_of(logits, {static_cast<std::int64_t>(logits.size())}), history, params, counter);
}

// The definition in double, with the random number, top-p and min-p as given.
std::int32_t defined_token(const std::vector<float>& logits, const std::vector<std::int32_t>& history,
                           const SamplingParams& params, double random, double top_p, double min_p) {
  std::vector<double> s(logits.begin(), logits.end());
  for (const std::int32_t id : history) {
    const float from = logits[static_cast<std::size_t>(id)];
    s[static_cast<std::size_t>(id)] = from < 0 ? from * params.repetition_penalty : from / params.repetition_penalty;
  }
  std::vector<std::size_t> order(s.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return s[a] > s[b]; });
  const double largest = s[order[0]];
  std::size_t kept = s.size();
  if (params.top_k > 0 && static_cast<std::size_t>(params.top_k) < kept) {
    kept = static_cast<std::size_t>(params.top_k);
    while (kept < s.size() && s[order[kept]] == s[order[kept - 1]]) ++kept;
  }
  const auto weight = [&](std::size_t id) { return std::exp((s[id] - largest) / params.temperature); };
  double total = 0, before = 0;
  for (std::size_t i = 0; i < kept; ++i) total += weight(order[i]);
  if (params.top_p < 1) {
    std::size_t i = 0;
    do before += weight(order[i++]);
    while (i < kept && before < top_p * total);
    kept = i;
  }
  std::vector<std::size_t> ids;
  for (std::size_t i = 0; i < kept; ++i) {
    if (i == 0 || weight(order[i]) >= min_p) ids.push_back(order[i]);
  }
  std::sort(ids.begin(), ids.end());
  total = before = 0;
  for (const std::size_t id : ids) total += weight(id);
  for (const std::size_t id : ids) {
    before += weight(id);
    if (random * total < before) return static_cast<std::int32_t>(id);
  }
  return static_cast<std::int32_t>(ids.back());
}

// Whether shifts of `eps` of what decides give either token.
bool are_neighbours(std::int32_t a, std::int32_t b, const std::vector<float>& logits,
                    const std::vector<std::int32_t>& history, const SamplingParams& params, std::uint64_t counter,
                    double eps) {
  std::set<std::int32_t> tokens;
  const double random = static_cast<double>(draw_bits(params.seed, counter)) * 0x1p-53;
  for (const double shift : {-eps, 0.0, eps}) {
    for (const double top_p : {-eps, eps}) {
      for (const double min_p : {-eps, eps}) {
        tokens.insert(defined_token(logits, history, params, random + shift,
                                    static_cast<double>(params.top_p) * (1 + top_p),
                                    static_cast<double>(params.min_p) * (1 + min_p)));
      }
    }
  }
  return tokens.count(a) != 0 && tokens.count(b) != 0;
}

TEST(SampleSharded, DrawsTheTokenOfSampleAtEveryWorldSize) {
  const Stream stream = Stream::cpu(2);
  const std::vector<SamplingParams> all = sampling_cases();
  const std::int64_t n = static_cast<std::int64_t>(all.size());
  int draws = 0, others = 0;
  for (const std::int64_t vocabulary : {1, 13, 300, 5000}) {
    const std::vector<float> logits = logits_with_ties(n, vocabulary, 7);
    std::vector<std::int32_t> history;
    for (std::int64_t i = 0; i < n * 4; ++i) history.push_back(static_cast<std::int32_t>(i / 2 * 31 % vocabulary));
    for (std::uint64_t counter = 0; counter < (vocabulary > 1000 ? 3 : 6); ++counter) {
      std::vector<SampleRow> rows;
      for (const SamplingParams& params : all) {
        rows.push_back(sample_row(params, counter, static_cast<std::int32_t>(rows.size() % 5)));
      }
      std::vector<std::int32_t> tokens;
      for (const int world_size : kWorlds) {
        const std::vector<std::int32_t> here = ShardedDraw(stream)(rows, logits, history, world_size);
        if (tokens.empty()) tokens = here;
        EXPECT_EQ(here, tokens) << world_size << " ranks";
      }
      for (std::size_t i = 0; i < all.size(); ++i) {
        const auto at = static_cast<std::int64_t>(i);
        const std::vector<float> row(logits.begin() + at * vocabulary, logits.begin() + (at + 1) * vocabulary);
        const std::vector<std::int32_t> past(history.begin() + 4 * at, history.begin() + 4 * at + rows[i].num_history);
        const std::int32_t expected = sample_whole(row, past, all[i], counter);
        ++draws;
        if (tokens[i] == expected) continue;
        ++others;
        // f32 weights differ by some 2^-24, whole numbers of 2^-44 add less than 2^-25 of the total.
        EXPECT_TRUE(are_neighbours(tokens[i], expected, row, past, all[i], counter, 1e-6))
            << tokens[i] << ", not " << expected << ": top_k " << all[i].top_k << ", top_p " << all[i].top_p
            << ", min_p " << all[i].min_p << ", vocabulary " << vocabulary << ", counter " << counter;
      }
    }
  }
  std::printf("%d of %d draws differ from sample()\n", others, draws);
  EXPECT_LE(others, draws / 500);
}

TEST(SampleSharded, ExpIsExactToAUnit) {
  for (int i = 0; i <= 870000; ++i) {
    const float x = static_cast<float>(-i) * 1e-4f;
    const double expected = std::exp(static_cast<double>(x));
    ASSERT_NEAR(sampling::exp_of(x), expected, expected * 0x1p-23) << x;
  }
  EXPECT_EQ(sampling::exp_of(0), 1.0f);
  EXPECT_EQ(sampling::exp_of(-87.1f), 0.0f);
  EXPECT_EQ(sampling::exp_of(-std::numeric_limits<float>::infinity()), 0.0f);
  EXPECT_EQ(sampling::exp_of(std::numeric_limits<float>::quiet_NaN()), 0.0f);
}

TEST(SampleSharded, KeysKeepTheOrderOfLogits) {
  const float most = std::numeric_limits<float>::max();
  const std::vector<float> ascending{-most, -2, -1e-40f, 0, 1e-40f, 1, 2, most};
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    EXPECT_EQ(sampling::logit_of(sampling::key_of(ascending[i])), ascending[i]);
    EXPECT_TRUE(i == 0 || sampling::key_of(ascending[i - 1]) < sampling::key_of(ascending[i])) << ascending[i];
  }
  EXPECT_EQ(sampling::key_of(-0.0f), sampling::key_of(0.0f));
}

TEST(SampleSharded, EqualLogitsAreKeptByLowerTokenOverRanks) {
  const Stream stream = Stream::cpu(1);
  // Half of the probability of ten equal tokens: the first five, whoever has them.
  const SamplingParams half{.top_p = 0.5f, .seed = 3};
  std::vector<SampleRow> rows;
  for (std::uint64_t counter = 0; counter < 100; ++counter) rows.push_back(sample_row(half, counter, 0));
  const std::vector<std::int32_t> tokens = ShardedDraw(stream)(rows, std::vector<float>(1000, 1.5f), {}, 3);
  EXPECT_EQ(std::set<std::int32_t>(tokens.begin(), tokens.end()), (std::set<std::int32_t>{0, 1, 2, 3, 4}));
}

TEST(SampleSharded, GreedyTakesOneStepAndTheLowestOfTheLargest) {
  const Stream stream = Stream::cpu(1);
  const std::vector<SampleRow> rows{sample_row({.temperature = 0}, 0, 0),
                                    sample_row({.temperature = 0, .repetition_penalty = 2}, 0, 3)};
  EXPECT_EQ(sample_steps(rows, 5), (std::vector<SampleStep>{SampleStep::kLargest, SampleStep::kEnd}));
  for (const int world_size : kWorlds) {
    // Foreign tokens in the history are passed over.
    EXPECT_EQ(ShardedDraw(stream)(rows, {1, 3, 2, 3, -1, 1, 3, 2, 2.5f, -1}, {0, 0, 0, 1, 5, -7}, world_size),
              (std::vector<std::int32_t>{1, 3}));
  }
}

TEST(SampleSharded, NamesTheFirstLogitThatIsNotFinite) {
  const Stream stream = Stream::cpu(1);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits(200, 1.0f);
    logits[97] = logits[98] = bad;
    for (const SamplingParams& params :
         {SamplingParams{.temperature = 0}, SamplingParams{.top_k = 5, .top_p = 0.9f, .min_p = 0.1f}}) {
      const std::vector<SampleRow> rows(2, sample_row(params, 0, 0));
      for (const int world_size : kWorlds) {
        const std::vector<std::int32_t> tokens = ShardedDraw(stream)(rows, logits, {}, world_size);
        EXPECT_EQ(tokens[0], -98);
        EXPECT_GE(tokens[1], 0);
      }
    }
  }
}

TEST(SampleSharded, ExtremeParametersStillDecide) {
  const Stream stream = Stream::cpu(1);
  const float most = std::numeric_limits<float>::max();
  for (const float temperature : {1e-30f, 1e-38f, std::numeric_limits<float>::denorm_min()}) {
    const std::vector<SampleRow> rows{
        sample_row({.temperature = temperature}, 0, 0), sample_row({.temperature = temperature, .top_k = 2}, 0, 0),
        sample_row({.temperature = temperature, .top_p = 0.9f, .repetition_penalty = 1e-38f}, 0, 1)};
    EXPECT_EQ(ShardedDraw(stream)(rows, {-most, most, 0, 5, 1, 20, 1, 1, 20}, {0, 0, 1}, 2),
              (std::vector<std::int32_t>{1, 2, 1}));
  }
}

TEST(SampleSharded, RefusesWhatDoesNotFit) {
  const Stream stream = Stream::cpu(1);
  const std::vector<float> logits(6);
  const std::vector<std::uint8_t> rows(2 * sizeof(SampleRow));
  const std::vector<std::int32_t> history;
  std::vector<std::uint8_t> scratch(sample_scratch_bytes(2, 3));
  std::vector<std::int32_t> message(8);
  SampleShard shard{.logits = tensor_of(logits, {2, 3}),
                    .vocabulary = 3,
                    .rows = tensor_of(rows, {2, sizeof(SampleRow)}),
                    .history = tensor_of(history, {2, 0}),
                    .scratch = tensor_of(scratch, {static_cast<std::int64_t>(scratch.size())})};
  const auto start = [&] {
    sample_step(stream, shard, SampleStep::kStart, {}, SampleStep::kLargest, tensor_of(message, {2, 4}));
  };
  EXPECT_NO_THROW(start());
  shard.vocab_begin = 1;
  EXPECT_THROW(start(), Error);
  shard.vocab_begin = 0;
  shard.vocabulary = kMaxSampledVocabulary + 1;
  EXPECT_THROW(start(), Error);
  shard.vocabulary = 3;
  shard.scratch = shard.scratch.slice(0, 5);
  EXPECT_THROW(start(), Error);
  EXPECT_THROW(sample_row({.temperature = -1}, 0, 0), Error);
}

}  // namespace
}  // namespace tandem
