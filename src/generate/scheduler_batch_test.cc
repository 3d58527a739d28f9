// What a job says does not depend on the jobs around it.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "base/format.h"
#include "generate/generate_test_rig.h"

namespace tandem {
namespace {

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  int between(int least, int most) { return std::uniform_int_distribution<int>(least, most)(engine_); }
  bool one_in(int n) { return between(1, n) == 1; }

 private:
  std::mt19937 engine_;
};

Job random_job(Random& random) {
  Job job = {.input_ids = prompt_of(random.between(1, 60), static_cast<std::uint32_t>(random.between(0, 3)))};
  job.max_new_tokens = random.between(1, 40);
  job.temperature = random.one_in(4) ? 0.0f : 1.0f;
  job.top_k = random.one_in(3) ? 20 : 0;
  job.top_p = random.one_in(3) ? 0.9f : 1.0f;
  job.min_p = random.one_in(4) ? 0.05f : 0.0f;
  job.repetition_penalty = random.one_in(3) ? 1.3f : 1.0f;
  job.seed = static_cast<std::uint64_t>(random.between(0, 1000));
  if (random.one_in(3)) job.stop_strings = {"ab", "\u00e9\u00e9", "stopping"};
  if (random.one_in(4)) job.stop_token_ids = {kPing, 'q'};
  job.ignore_eos = random.one_in(3);
  job.decode_special_tokens = random.one_in(2);
  return job;
}

FakeOptions random_ranks(Random& random) {
  const int max_batch_size = random.between(1, 5);
  const int page_size = random.one_in(2) ? 4 : 16;
  return {.max_seq_len = 90,
          .max_batch_size = max_batch_size,
          .max_step_tokens = max_batch_size + random.between(0, 20),
          .num_pages = 112 / page_size + random.between(0, 20),
          .page_size = page_size};
}

/// Everything a job's results said.
struct Heard {
  std::vector<std::int32_t> token_ids;
  std::string text;
  std::int64_t prompt_tokens_done = 0;
  std::optional<Result> last;
};

void listen(const std::vector<Result>& results, std::map<int, Heard>& heard) {
  std::map<int, int> count;
  for (const Result& result : results) {
    EXPECT_EQ(++count[result.serial], 1) << "two results of one job";
    Heard& job = heard[result.serial];
    EXPECT_FALSE(job.last.has_value()) << "a result after the last";
    EXPECT_GE(result.prompt_tokens_done, job.prompt_tokens_done);
    job.prompt_tokens_done = result.prompt_tokens_done;
    job.token_ids.insert(job.token_ids.end(), result.token_ids.begin(), result.token_ids.end());
    job.text += result.text;
    if (result.eos) job.last = result;
  }
}

TEST(SchedulerBatch, GivesEachJobTheTokensItGetsAloneWhenJobsJoinAndLeaveAtRandom) {
  for (unsigned seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(format("seed {}", seed));
    Random random(seed);
    Rig rig(random_ranks(random), {kEndOfText, kEndOfTurn});
    std::map<int, Job> jobs;
    std::map<int, Heard> heard;
    std::vector<int> cancelled;
    std::vector<int> order;  // of first results
    int to_enqueue = 12;
    while (to_enqueue > 0 || rig.scheduler.num_remaining_jobs() > 0) {
      while (to_enqueue > 0 && random.one_in(3)) {
        const Job job = random_job(random);
        jobs[rig.scheduler.enqueue(job)] = job;
        --to_enqueue;
      }
      if (!jobs.empty() && random.one_in(20)) {
        cancelled.push_back(random.between(1, static_cast<int>(jobs.size())));
        rig.scheduler.cancel(cancelled.back());
      }
      const std::vector<Result> results = rig.scheduler.iterate();
      for (const Result& result : results) {
        if (!heard.contains(result.serial) && result.eos_reason != EosReason::kCancelled)
          order.push_back(result.serial);
      }
      listen(results, heard);
    }
    EXPECT_TRUE(std::ranges::is_sorted(order));
    EXPECT_TRUE(rig.all_pages_free());
    ASSERT_EQ(heard.size(), jobs.size());
    for (const auto& [serial, job] : jobs) {
      SCOPED_TRACE(format("job {}", serial));
      const Heard& said = heard[serial];
      const Answer expected = expected_answer(job, hashed_logits, *rig.tokenizer, 90);
      ASSERT_TRUE(said.last.has_value());
      EXPECT_EQ(said.text, said.last->full_text);
      EXPECT_EQ(said.last->new_tokens, std::ssize(said.token_ids));
      EXPECT_EQ(said.last->prompt_tokens, std::ssize(job.input_ids));
      if (said.last->eos_reason == EosReason::kCancelled) {
        EXPECT_NE(std::ranges::find(cancelled, serial), cancelled.end());
        ASSERT_LE(said.token_ids.size(), expected.token_ids.size());
        EXPECT_TRUE(std::ranges::equal(said.token_ids, std::span(expected.token_ids).first(said.token_ids.size())));
        continue;
      }
      EXPECT_EQ(said.token_ids, expected.token_ids);
      EXPECT_EQ(said.text, expected.text);
      EXPECT_EQ(said.last->eos_reason, expected.reason);
      EXPECT_EQ(said.prompt_tokens_done, std::ssize(job.input_ids));
    }
  }
}

TEST(SchedulerBatch, ComputesPromptsAroundPageAndStepBoundaries) {
  for (const std::int64_t max_step_tokens : {200, 256, 300, 512}) {
    Rig rig({.max_batch_size = 3, .max_step_tokens = max_step_tokens, .num_pages = 14, .page_size = 256});
    std::vector<Job> jobs;
    for (const std::int64_t num_prompt : {1, 255, 256, 257, 511, 512, 513, 768, 1030}) {
      jobs.push_back({.input_ids = prompt_of(num_prompt), .max_new_tokens = 5, .seed = 7});
      rig.scheduler.enqueue(jobs.back());
    }
    const std::vector<Result> results = rig.run();
    ASSERT_EQ(results.size(), jobs.size());
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      const Answer expected = expected_answer(jobs[i], hashed_logits, *rig.tokenizer, 4096);
      EXPECT_EQ(results[i].full_text, expected.text)
          << jobs[i].input_ids.size() << " tokens in steps of " << max_step_tokens;
      EXPECT_EQ(results[i].new_tokens, 5);
    }
    EXPECT_TRUE(rig.all_pages_free());
  }
}

TEST(SchedulerBatch, LetsStreamsGoOnWhileALongPromptIsComputed) {
  Rig rig({.max_batch_size = 3, .max_step_tokens = 16});
  rig.scheduler.enqueue({.input_ids = prompt_of(4), .max_new_tokens = 20});
  rig.scheduler.iterate();
  const int other = rig.scheduler.enqueue({.input_ids = prompt_of(40), .max_new_tokens = 3});
  std::vector<Stage> stages;
  for (int i = 0; i < 3; ++i) {
    const std::vector<Result> results = rig.scheduler.iterate();
    ASSERT_EQ(results.size(), 2u);
    EXPECT_EQ(results[0].token_ids.size(), 1u);
    ASSERT_EQ(results[1].serial, other);
    stages.push_back(results[1].stage);
  }
  using Part = FakeRanks::Part;
  const std::vector<std::vector<Part>> expected = {
      {{0, 4, true}}, {{4, 1, true}, {0, 15, false}}, {{5, 1, true}, {15, 15, false}}, {{6, 1, true}, {30, 10, true}}};
  EXPECT_EQ(rig.ranks.steps(), expected);
  EXPECT_EQ(stages, (std::vector{Stage::kStarted, Stage::kPrefill, Stage::kStreaming}));
}

TEST(SchedulerBatch, ReportsTheStartOfAJobThatGetsNoTokensInItsFirstStep) {
  Rig rig({.max_batch_size = 2, .max_step_tokens = 8});
  const int first = rig.scheduler.enqueue({.input_ids = prompt_of(10), .max_new_tokens = 2});
  const int second = rig.scheduler.enqueue({.input_ids = prompt_of(5), .max_new_tokens = 2});
  const std::vector<Result> results = rig.scheduler.iterate();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].serial, first);
  EXPECT_EQ(results[0].stage, Stage::kStarted);
  EXPECT_EQ(results[0].prompt_tokens_done, 8);
  EXPECT_EQ(results[1].serial, second);
  EXPECT_EQ(results[1].stage, Stage::kStarted);
  EXPECT_EQ(results[1].prompt_tokens_done, 0);
  EXPECT_EQ(rig.run().size(), 2u);
}

TEST(SchedulerBatch, RunsNoMoreThanMaxBatchSizeAndTheOthersInOrder) {
  Rig rig({.max_batch_size = 2});
  for (int i = 0; i < 5; ++i) rig.scheduler.enqueue({.input_ids = prompt_of(3), .max_new_tokens = 2 + i});
  EXPECT_EQ(rig.scheduler.num_remaining_jobs(), 5);
  std::vector<std::vector<int>> serials;
  while (rig.scheduler.num_remaining_jobs() > 0) {
    serials.emplace_back();
    for (const Result& result : rig.scheduler.iterate()) serials.back().push_back(result.serial);
  }
  const std::vector<std::vector<int>> expected = {{1, 2}, {1, 2}, {2, 3}, {3, 4}, {3, 4}, {3, 4},
                                                  {4, 5}, {4, 5}, {5},    {5},    {5},    {5}};
  EXPECT_EQ(serials, expected);
}

TEST(SchedulerBatch, LetsAJobWaitForItsPagesAndNobodyOvertakeIt) {
  // 6 pages of 16 tokens; the jobs need 4, 5 and 1 of them.
  Rig rig({.num_pages = 6});
  rig.scheduler.enqueue({.input_ids = prompt_of(40), .max_new_tokens = 20});
  rig.scheduler.enqueue({.input_ids = prompt_of(60), .max_new_tokens = 5});
  rig.scheduler.enqueue({.input_ids = prompt_of(2), .max_new_tokens = 5});
  for (int i = 0; i < 20; ++i) {
    const std::vector<Result> results = rig.scheduler.iterate();
    ASSERT_EQ(results.size(), 1u);
    EXPECT_EQ(results[0].serial, 1);
    EXPECT_EQ(results[0].eos, i == 19);
    // Promised, but not taken: 40 tokens are in three pages, 49 in four.
    EXPECT_EQ(rig.pages.num_free(), i < 9 ? 3 : i < 19 ? 2 : 6);
  }
  const std::vector<Result> results = rig.scheduler.iterate();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].serial, 2);
  EXPECT_EQ(results[1].serial, 3);
  rig.run();
  EXPECT_TRUE(rig.all_pages_free());
}

}  // namespace
}  // namespace tandem
