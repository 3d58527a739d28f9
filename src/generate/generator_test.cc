// The public generator over a real model on two ranks; what the scheduler does is tested in scheduler_test.cc.
#include "tandem/generator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <thread>

#include "base/error.h"

namespace tandem {
namespace {

class GeneratorOverRanks : public testing::Test {
 protected:
  static std::string path() { return std::string(TANDEM_SOURCE_DIR) + "/tests/golden/gguf/llama-f16/model.gguf"; }
  static Job job(const std::vector<std::int32_t>& ids, int max_new_tokens) {
    return {.input_ids = ids, .max_new_tokens = max_new_tokens, .temperature = 0, .ignore_eos = true};
  }
  ErrorKind refusal(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::kInternal;
  }

  std::shared_ptr<Model> model_ = Model::load({.model_dir = path(), .tp_size = 2, .max_batch_size = 3, .threads = 2});
  std::shared_ptr<const Tokenizer> tokenizer_ = Tokenizer::load(path());
  std::shared_ptr<Cache> cache_ = std::make_shared<Cache>(model_);
};

TEST_F(GeneratorOverRanks, JobsInABatchGetTheTokensTheyGetAlone) {
  const std::vector<std::vector<std::int32_t>> prompts = {{5, 6, 7}, {40, 41}, {9, 9, 9, 9, 9, 9}, {100}};
  std::vector<std::string> alone;
  Generator generator(model_, cache_, tokenizer_);
  for (const auto& prompt : prompts) {
    generator.enqueue(job(prompt, 10));
    alone.push_back(generator.run_to_completion().at(0).full_text);
  }
  for (const auto& prompt : prompts) generator.enqueue(job(prompt, 10));
  const std::vector<Result> together = generator.run_to_completion();
  ASSERT_EQ(together.size(), prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(together[i].full_text, alone[i]);
    EXPECT_EQ(together[i].new_tokens, 10);
    EXPECT_EQ(together[i].eos_reason, EosReason::kMaxNewTokens);
  }
}

TEST_F(GeneratorOverRanks, RefusesPartsThatDoNotBelongTogether) {
  const auto other = Model::load({.model_dir = path(), .threads = 1});
  EXPECT_EQ(refusal([&] { Generator(other, cache_, tokenizer_); }), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal([&] { Generator(model_, cache_, nullptr); }), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal([&] { Generator(model_, cache_, Tokenizer::dummy(100000)); }), ErrorKind::kInvalidArgument);
  {
    const Generator first(model_, cache_, tokenizer_);
    EXPECT_EQ(refusal([&] { Generator(model_, cache_, tokenizer_); }), ErrorKind::kInvalidArgument);
  }
  const Generator again(model_, cache_, tokenizer_);
}

TEST_F(GeneratorOverRanks, ACacheOfMoreTokensThanCanBeNumberedIsRefused) {
  for (const std::int64_t tokens :
       {std::int64_t{-1}, std::int64_t{1} << 31, std::numeric_limits<std::int64_t>::max()}) {
    EXPECT_EQ(refusal([&] { Cache(model_, tokens); }), ErrorKind::kInvalidArgument) << tokens;
  }
}

TEST_F(GeneratorOverRanks, AnAbortEndsTheStepWithItsReason) {
  Generator generator(model_, cache_, tokenizer_);
  generator.enqueue(job({5, 6, 7}, 100));
  generator.iterate();
  std::jthread([&] { model_->abort("the user left"); }).join();
  try {
    generator.run_to_completion();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
    EXPECT_NE(std::string(error.what()).find("the user left"), std::string::npos) << error.what();
  }
  EXPECT_EQ(refusal([&] { generator.enqueue(job({5}, 1)); }), ErrorKind::kCancelled);
}

TEST_F(GeneratorOverRanks, AModelWorksAgainAfterAnAbort) {
  const auto answer = [&](const std::shared_ptr<Cache>& cache) {
    Generator generator(model_, cache, tokenizer_);
    generator.enqueue(job({5, 6, 7}, 10));
    return generator.run_to_completion().at(0).full_text;
  };
  const std::string expected = answer(cache_);
  {
    Generator generator(model_, cache_, tokenizer_);
    generator.enqueue(job({5, 6, 7}, 10));
    generator.iterate();
    model_->abort("the user left");  // no step is running: the next one throws
    EXPECT_EQ(refusal([&] { generator.iterate(); }), ErrorKind::kCancelled);
    EXPECT_EQ(refusal([&] { generator.iterate(); }), ErrorKind::kCancelled);
  }
  EXPECT_EQ(answer(cache_), expected);
  model_->abort("the user left");
  EXPECT_EQ(answer(std::make_shared<Cache>(model_)), expected);
}

TEST_F(GeneratorOverRanks, AnAbortMayMeetAnUnload) {
  cache_.reset();
  std::atomic<bool> running{false};
  std::jthread aborter([&](const std::stop_token& stop) {
    for (; !stop.stop_requested(); running = true) model_->abort("the user left");
  });
  while (!running) std::this_thread::yield();
  model_->unload();
}

TEST_F(GeneratorOverRanks, AnUnloadedModelRefusesWorkAndCanBeLoadedAgain) {
  {
    Generator generator(model_, cache_, tokenizer_);
    model_->unload();
    model_->unload();
    EXPECT_EQ(refusal([&] { generator.enqueue(job({5}, 1)); }), ErrorKind::kInvalidArgument);
  }
  EXPECT_EQ(refusal([&] { Cache cache(model_); }), ErrorKind::kInvalidArgument);
  model_ = Model::load({.model_dir = path(), .tp_size = 3, .threads = 2});
  Generator generator(model_, std::make_shared<Cache>(model_), tokenizer_);
  generator.enqueue(job({5, 6, 7}, 4));
  EXPECT_EQ(generator.run_to_completion().at(0).new_tokens, 4);
}

}  // namespace
}  // namespace tandem
