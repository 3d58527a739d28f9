// How a job ends, and what that leaves behind.

#include "generate/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "generate/generate_test_rig.h"

namespace tandem {
namespace {

/// Runs one greedy job whose answer is `script`, and checks that its pages came back.
Result run_script(const std::vector<std::int32_t>& script, const std::function<void(Job&)>& change = [](Job&) {}) {
  Rig rig({.next = scripted_logits(3, script)}, {kEndOfText, kEndOfTurn});
  Job job = {.input_ids = prompt_of(3), .max_new_tokens = static_cast<int>(script.size()), .temperature = 0};
  change(job);
  rig.scheduler.enqueue(job);
  std::vector<Result> results = rig.run();
  EXPECT_TRUE(rig.all_pages_free());
  EXPECT_EQ(results.size(), 1u);
  return results.at(0);
}

TEST(Scheduler, EndsAtMaxNewTokens) {
  const Result result = run_script(byte_tokens("answer"), [](Job& job) { job.max_new_tokens = 4; });
  EXPECT_EQ(result.full_text, "answ");
  EXPECT_EQ(result.eos_reason, EosReason::kMaxNewTokens);
  EXPECT_EQ(result.new_tokens, 4);
  EXPECT_EQ(result.prompt_tokens, 3);
}

TEST(Scheduler, EndsAtAnyEndOfTextIdAndKeepsItOutOfTheText) {
  for (const std::int32_t id : {kEndOfText, kEndOfTurn}) {
    const Result result = run_script({'h', 'i', id, 'x'}, [](Job& job) { job.decode_special_tokens = true; });
    EXPECT_EQ(result.full_text, "hi");
    EXPECT_EQ(result.eos_reason, EosReason::kStopToken);
    EXPECT_EQ(result.new_tokens, 3);
    EXPECT_EQ(result.token_ids, std::vector{id});
  }
}

TEST(Scheduler, GoesOnPastEndOfTextWhenTold) {
  const Result result = run_script({'h', kEndOfText, 'i'}, [](Job& job) { job.ignore_eos = true; });
  EXPECT_EQ(result.full_text, "hi");
  EXPECT_EQ(result.eos_reason, EosReason::kMaxNewTokens);
  const Result shown = run_script({'h', kEndOfText, 'i'}, [](Job& job) {
    job.ignore_eos = true;
    job.decode_special_tokens = true;
  });
  EXPECT_EQ(shown.full_text, "h<eot>i");
}

TEST(Scheduler, EndsAtAStopTokenEvenWhenEndOfTextIsIgnored) {
  const Result result = run_script({'a', kPing, 'b'}, [](Job& job) {
    job.ignore_eos = true;
    job.stop_token_ids = {'z', kPing};
  });
  EXPECT_EQ(result.full_text, "a");
  EXPECT_EQ(result.eos_reason, EosReason::kStopToken);
  EXPECT_EQ(result.new_tokens, 2);
}

TEST(Scheduler, EndsAtAStopStringThatSpansTokens) {
  const Result result = run_script({'a', kStop, kPing, 'b'}, [](Job& job) { job.stop_strings = {"toppi"}; });
  EXPECT_EQ(result.full_text, "as");
  EXPECT_EQ(result.eos_reason, EosReason::kStopString);
  EXPECT_EQ(result.new_tokens, 3);
}

TEST(Scheduler, EndsAtTheStopStringThatIsAPrefixOfAnother) {
  const Result result = run_script({'a', kStop, kPing}, [](Job& job) { job.stop_strings = {"stopping", "stop"}; });
  EXPECT_EQ(result.full_text, "a");
  EXPECT_EQ(result.new_tokens, 2);
}

TEST(Scheduler, GivesHeldBackTextWithTheLastResult) {
  const Result cut = run_script({'a', kStop}, [](Job& job) { job.stop_strings = {"stopping"}; });
  EXPECT_EQ(cut.text, "stop");
  EXPECT_EQ(cut.full_text, "astop");
  EXPECT_EQ(cut.eos_reason, EosReason::kMaxNewTokens);
  const Result ended = run_script({'a', kStop, kEndOfText}, [](Job& job) { job.stop_strings = {"stopping"}; });
  EXPECT_EQ(ended.full_text, "astop");
  EXPECT_EQ(ended.eos_reason, EosReason::kStopToken);
}

TEST(Scheduler, StreamsWholeCharactersAndEndsAtAStopStringAmongThem) {
  const std::string said = "x\u20ac\u00e9\u20acy";
  Rig rig({.next = scripted_logits(1, byte_tokens(said))});
  rig.scheduler.enqueue({.input_ids = {1}, .max_new_tokens = 12, .temperature = 0, .stop_strings = {"\u00e9\u20acy"}});
  std::vector<std::string> texts;
  std::string full_text;
  while (rig.scheduler.num_remaining_jobs() > 0) {
    for (const Result& result : rig.scheduler.iterate()) {
      texts.push_back(result.text);
      full_text = result.full_text;
    }
  }
  EXPECT_EQ(texts, (std::vector<std::string>{"x", "", "", "\u20ac", "", "", "", "", "", ""}));
  EXPECT_EQ(full_text, "x\u20ac");
}

TEST(Scheduler, CutsTheAnswerAtMaxSeqLen) {
  Rig rig({.max_seq_len = 32});
  rig.scheduler.enqueue({.input_ids = prompt_of(30), .max_new_tokens = 100, .ignore_eos = true});
  const std::vector<Result> results = rig.run();
  EXPECT_EQ(results.at(0).new_tokens, 2);
  EXPECT_EQ(results.at(0).eos_reason, EosReason::kMaxNewTokens);
}

TEST(Scheduler, RunsAJobThatFillsTheWholeCache) {
  Rig rig({.max_step_tokens = 7, .num_pages = 3});
  rig.scheduler.enqueue({.input_ids = prompt_of(40), .max_new_tokens = 8});
  rig.scheduler.enqueue({.input_ids = prompt_of(1), .max_new_tokens = 47});
  EXPECT_EQ(rig.run().size(), 2u);
  EXPECT_TRUE(rig.all_pages_free());
  EXPECT_THROW(rig.scheduler.enqueue({.input_ids = prompt_of(40), .max_new_tokens = 9}), Error);
  EXPECT_EQ(rig.scheduler.num_remaining_jobs(), 0);
}

TEST(Scheduler, HasNothingToDoWithoutJobs) {
  Rig rig;
  EXPECT_TRUE(rig.scheduler.iterate().empty());
  EXPECT_TRUE(rig.ranks.steps().empty());
}

TEST(Scheduler, CancelsAJobThatWaitsPrefillsOrStreams) {
  Rig rig({.max_batch_size = 2, .max_step_tokens = 8});
  const int streaming = rig.scheduler.enqueue({.input_ids = prompt_of(2), .max_new_tokens = 50, .ignore_eos = true});
  const int prefilling = rig.scheduler.enqueue({.input_ids = prompt_of(100), .max_new_tokens = 50});
  const int waiting = rig.scheduler.enqueue({.input_ids = prompt_of(5), .max_new_tokens = 50});
  rig.scheduler.iterate();
  rig.scheduler.iterate();
  const std::size_t num_steps = rig.ranks.steps().size();
  for (const int serial : {waiting, prefilling, streaming, streaming, 0, -1, 99}) rig.scheduler.cancel(serial);
  const std::vector<Result> results = rig.scheduler.iterate();
  ASSERT_EQ(results.size(), 3u);
  for (const Result& result : results) {
    EXPECT_TRUE(result.eos);
    EXPECT_EQ(result.eos_reason, EosReason::kCancelled);
    EXPECT_TRUE(result.token_ids.empty());
  }
  EXPECT_EQ(results[0].serial, streaming);
  EXPECT_EQ(results[0].stage, Stage::kStreaming);
  EXPECT_EQ(results[0].new_tokens, 2);
  EXPECT_EQ(results[1].serial, prefilling);
  EXPECT_EQ(results[1].stage, Stage::kPrefill);
  EXPECT_EQ(results[1].prompt_tokens_done, 13);
  EXPECT_EQ(results[1].new_tokens, 0);
  EXPECT_EQ(results[2].serial, waiting);
  EXPECT_EQ(results[2].stage, Stage::kStarted);
  EXPECT_EQ(results[2].time_prefill_s, 0);
  EXPECT_EQ(rig.ranks.steps().size(), num_steps);
  EXPECT_EQ(rig.scheduler.num_remaining_jobs(), 0);
  EXPECT_TRUE(rig.all_pages_free());
}

TEST(Scheduler, FillsThePlaceOfACancelledJobInTheSameStep) {
  Rig rig({.max_batch_size = 1});
  const int first = rig.scheduler.enqueue({.input_ids = prompt_of(2), .max_new_tokens = 50});
  const int second = rig.scheduler.enqueue({.input_ids = prompt_of(2), .max_new_tokens = 1});
  rig.scheduler.iterate();
  rig.scheduler.cancel(first);
  const std::vector<Result> results = rig.scheduler.iterate();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[1].serial, second);
  EXPECT_EQ(results[1].eos_reason, EosReason::kMaxNewTokens);
}

TEST(Scheduler, DoesNotCancelAJobByASerialGivenOutLater) {
  Rig rig;
  rig.scheduler.cancel(1);
  EXPECT_EQ(rig.scheduler.enqueue({.input_ids = {1}, .max_new_tokens = 1}), 1);
  EXPECT_EQ(rig.run().at(0).eos_reason, EosReason::kMaxNewTokens);
}

TEST(Scheduler, CancelsFromOtherThreads) {
  Rig rig({.max_batch_size = 3, .num_pages = 1024, .page_size = 256});
  for (int i = 0; i < 8; ++i) {
    rig.scheduler.enqueue({.input_ids = prompt_of(4), .max_new_tokens = 4000, .ignore_eos = true});
  }
  std::jthread canceller([&] {
    for (int serial = 1; serial <= 8; ++serial) rig.scheduler.cancel(serial);
  });
  const std::vector<Result> results = rig.run();
  ASSERT_EQ(results.size(), 8u);
  for (const Result& result : results) EXPECT_EQ(result.eos_reason, EosReason::kCancelled);
  EXPECT_TRUE(rig.all_pages_free());
}

TEST(Scheduler, CloseEndsAllJobsAndRefusesNewOnes) {
  Rig rig({.max_batch_size = 2, .max_step_tokens = 8});
  for (int i = 0; i < 4; ++i) rig.scheduler.enqueue({.input_ids = prompt_of(12), .max_new_tokens = 9});
  rig.scheduler.iterate();
  EXPECT_FALSE(rig.all_pages_free());
  for (int i = 0; i < 2; ++i) {
    rig.scheduler.close();
    EXPECT_EQ(rig.scheduler.num_remaining_jobs(), 0);
    EXPECT_TRUE(rig.all_pages_free());
    EXPECT_TRUE(rig.scheduler.iterate().empty());
  }
  EXPECT_THROW(rig.scheduler.enqueue({.input_ids = {1}}), Error);
}

TEST(Scheduler, FreesItsPagesWhenDestroyed) {
  FakeRanks ranks({});
  PageAllocator pages(8);
  {
    Scheduler scheduler(ranks, pages, 16, test_tokenizer());
    scheduler.enqueue({.input_ids = prompt_of(40), .max_new_tokens = 9});
    scheduler.iterate();
    EXPECT_EQ(pages.num_free(), 5);
  }
  EXPECT_EQ(pages.num_free(), 8);
}

/// The error of a call.
template <class Call>
Error error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorKind::kInternal, "");
}

TEST(Scheduler, AFailedStepEndsAllJobsAndIsToldToWhoeverComesLater) {
  Rig rig({.max_batch_size = 2, .fail_at_step = 2});
  for (int i = 0; i < 3; ++i) rig.scheduler.enqueue({.input_ids = prompt_of(20), .max_new_tokens = 9});
  rig.scheduler.iterate();
  rig.scheduler.iterate();
  const Error first = error_of([&] { rig.scheduler.iterate(); });
  EXPECT_EQ(first.kind(), ErrorKind::kPeerLost);
  EXPECT_STREQ(first.what(), "rank 1 stopped");
  EXPECT_EQ(rig.scheduler.num_remaining_jobs(), 0);
  EXPECT_TRUE(rig.all_pages_free());

  const Error enqueue = error_of([&] { rig.scheduler.enqueue({.input_ids = {1}}); });
  EXPECT_EQ(enqueue.kind(), ErrorKind::kPeerLost);
  EXPECT_THAT(enqueue.what(), testing::HasSubstr("rank 1 stopped"));
  EXPECT_EQ(enqueue.hint(), "restart it");
  EXPECT_EQ(error_of([&] { rig.scheduler.iterate(); }).kind(), ErrorKind::kPeerLost);
  rig.scheduler.close();
}

TEST(Scheduler, NamesTheJobWhoseLogitsAreNotNumbers) {
  const auto next = [](std::span<const std::int32_t> tokens, std::span<float> logits) {
    hashed_logits(tokens, logits);
    if (tokens.size() == 42) logits[17] = std::nanf("");
  };
  Rig rig({.next = next});
  rig.scheduler.enqueue({.input_ids = prompt_of(3), .max_new_tokens = 30, .ignore_eos = true});
  rig.scheduler.enqueue({.input_ids = prompt_of(40), .max_new_tokens = 30, .ignore_eos = true});
  const Error error = error_of([&] { rig.run(); });
  EXPECT_EQ(error.kind(), ErrorKind::kInternal);
  EXPECT_THAT(error.what(), testing::HasSubstr("job 2, token 42: "));
  EXPECT_THAT(error.what(), testing::HasSubstr("logit 17 of 264 is nan"));
  EXPECT_TRUE(rig.all_pages_free());
}

TEST(Scheduler, SaysSoWhenAnotherHoldsThePagesItCounts) {
  Rig rig({.num_pages = 4});
  const auto foreign = rig.pages.allocate();
  rig.scheduler.enqueue({.input_ids = prompt_of(50), .max_new_tokens = 9});
  EXPECT_EQ(error_of([&] { rig.run(); }).kind(), ErrorKind::kOutOfMemory);
  rig.pages.release(*foreign);
  EXPECT_TRUE(rig.all_pages_free());
}

TEST(Scheduler, MeasuresTimesThatAddUp) {
  const auto slow = [](std::span<const std::int32_t> tokens, std::span<float> logits) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    hashed_logits(tokens, logits);
  };
  Rig rig({.max_batch_size = 1, .max_step_tokens = 8, .next = slow});
  for (int i = 0; i < 2; ++i) {
    rig.scheduler.enqueue({.input_ids = prompt_of(20), .max_new_tokens = 4, .ignore_eos = true});
  }
  const std::vector<Result> results = rig.run();
  for (const Result& result : results) {
    EXPECT_GE(result.time_prefill_s, 0.002);
    EXPECT_GE(result.time_decode_s, 0.006);
    EXPECT_GE(result.time_to_first_token_s, result.time_enqueued_s + result.time_prefill_s);
  }
  // The second waited for the whole of the first.
  EXPECT_GE(results[1].time_enqueued_s, results[0].time_prefill_s + results[0].time_decode_s);
}

TEST(Scheduler, NamesStagesAndReasons) {
  EXPECT_EQ(to_string(Stage::kStarted), "started");
  EXPECT_EQ(to_string(Stage::kPrefill), "prefill");
  EXPECT_EQ(to_string(Stage::kStreaming), "streaming");
  EXPECT_EQ(to_string(EosReason::kMaxNewTokens), "max-new-tokens");
  EXPECT_EQ(to_string(EosReason::kStopToken), "stop-token");
  EXPECT_EQ(to_string(EosReason::kStopString), "stop-string");
  EXPECT_EQ(to_string(EosReason::kCancelled), "cancelled");
}

}  // namespace
}  // namespace tandem
