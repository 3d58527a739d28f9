#include "generate/job_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tandem/error.h"

namespace tandem {
namespace {

const JobLimits kLimits = {.vocab_size = 100, .max_seq_len = 50, .cache_tokens = 40};

Job good_job() {
  return {.input_ids = {1, 2, 3}, .max_new_tokens = 10};
}

/// The error of a job that was changed, as "message | hint".
std::string refusal(const std::function<void(Job&)>& change) {
  Job job = good_job();
  change(job);
  try {
    check_job(job, kLimits);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return std::string(error.what()) + " | " + error.hint();
  }
  return "accepted";
}

TEST(JobCheck, AcceptsAJobAndItsExtremes) {
  EXPECT_EQ(refusal([](Job&) {}), "accepted");
  EXPECT_EQ(refusal([](Job& job) { job.input_ids = {0, 99}; }), "accepted");
  EXPECT_EQ(refusal([](Job& job) { job.temperature = 0; }), "accepted");
  EXPECT_EQ(refusal([](Job& job) { job.min_p = 1; }), "accepted");
  EXPECT_EQ(refusal([](Job& job) { job.top_k = 1000000; }), "accepted");
  EXPECT_EQ(refusal([](Job& job) { job.max_new_tokens = 37; }), "accepted");
}

TEST(JobCheck, NamesFieldAndValueOfWhatIsOutOfRange) {
  using testing::HasSubstr;
  const float nan = std::nanf("");
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_THAT(refusal([](Job& job) { job.input_ids.clear(); }), HasSubstr("input_ids is empty"));
  EXPECT_THAT(refusal([](Job& job) { job.input_ids[1] = 100; }), HasSubstr("input_ids[1] is 100"));
  EXPECT_THAT(refusal([](Job& job) { job.input_ids[2] = -1; }), HasSubstr("input_ids[2] is -1"));
  EXPECT_THAT(refusal([](Job& job) { job.stop_token_ids = {100}; }), HasSubstr("stop_token_ids[0] is 100"));
  EXPECT_THAT(refusal([](Job& job) { job.max_new_tokens = 0; }), HasSubstr("max_new_tokens is 0"));
  EXPECT_THAT(refusal([](Job& job) { job.temperature = -0.5f; }), HasSubstr("temperature is -0.5"));
  EXPECT_THAT(refusal([&](Job& job) { job.temperature = nan; }), HasSubstr("temperature is nan"));
  EXPECT_THAT(refusal([&](Job& job) { job.temperature = infinity; }), HasSubstr("temperature is inf"));
  EXPECT_THAT(refusal([](Job& job) { job.top_k = -1; }), HasSubstr("top_k is -1"));
  EXPECT_THAT(refusal([](Job& job) { job.top_p = 0; }), HasSubstr("top_p is 0"));
  EXPECT_THAT(refusal([](Job& job) { job.top_p = 1.5f; }), HasSubstr("top_p is 1.5"));
  EXPECT_THAT(refusal([&](Job& job) { job.top_p = nan; }), HasSubstr("top_p is nan"));
  EXPECT_THAT(refusal([](Job& job) { job.min_p = 1.5f; }), HasSubstr("min_p is 1.5"));
  EXPECT_THAT(refusal([](Job& job) { job.min_p = -0.5f; }), HasSubstr("min_p is -0.5"));
  EXPECT_THAT(refusal([&](Job& job) { job.min_p = nan; }), HasSubstr("min_p is nan"));
  EXPECT_THAT(refusal([](Job& job) { job.repetition_penalty = 0; }), HasSubstr("repetition_penalty is 0"));
  EXPECT_THAT(refusal([&](Job& job) { job.repetition_penalty = nan; }), HasSubstr("repetition_penalty is nan"));
  EXPECT_THAT(refusal([](Job& job) { job.stop_strings = {"a", ""}; }), HasSubstr("stop_strings[1] is empty"));
  EXPECT_THAT(refusal([](Job& job) { job.stop_strings = {"a\xC3"}; }), HasSubstr("byte 0xc3 at offset 1"));
}

TEST(JobCheck, RefusesWhatCanNeverFitWithNumbersAndAHint) {
  EXPECT_EQ(
      refusal([](Job& job) { job.input_ids.assign(50, 1); }),
      "the prompt has 50 tokens, max_seq_len is 50: no room for an answer | shorten the prompt, or load the model "
      "with a larger max_seq_len");
  EXPECT_EQ(
      refusal([](Job& job) { job.input_ids.assign(45, 1); }),
      "the prompt has 45 tokens, the cache holds 40: no room for an answer | shorten the prompt, or make a larger "
      "cache");
  EXPECT_EQ(
      refusal([](Job& job) { job.max_new_tokens = 38; }),
      "the prompt has 3 tokens and max_new_tokens is 38, the cache holds 40 | set max_new_tokens to 37 or less, or "
      "make a larger cache");
}

TEST(JobCheck, CutsTheAnswerToWhatMaxSeqLenLeaves) {
  Job job = good_job();
  job.max_new_tokens = std::numeric_limits<int>::max();
  check_job(job, {.vocab_size = 100, .max_seq_len = 50, .cache_tokens = 64});
  EXPECT_EQ(job.max_new_tokens, 47);
}

}  // namespace
}  // namespace tandem
