#pragma once
// For the tests of this folder: a tokenizer whose ids are bytes, and ranks that compute nothing but keep what they are
// given in pages, as real ones do.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/scheduler.h"
#include "model/step.h"
#include "tandem/generator.h"
#include "tandem/tokenizer.h"

namespace tandem {

// Ids 0 to 255 are bytes.
inline constexpr std::int32_t kEndOfText = 256;  // special
inline constexpr std::int32_t kEndOfTurn = 257;  // special
inline constexpr std::int32_t kStop = 258;       // the piece "stop"
inline constexpr std::int32_t kPing = 259;       // the piece "ping"
inline constexpr std::int64_t kVocabSize = 264;  // a model's: some ids have no piece

std::shared_ptr<const Tokenizer> test_tokenizer(std::vector<std::int32_t> eos_token_ids = {});
std::vector<std::int32_t> byte_tokens(std::string_view text);
/// A prompt of this many tokens; another `salt` gives another prompt.
std::vector<std::int32_t> prompt_of(std::int64_t num_tokens, std::uint32_t salt = 0);

/// What a fake model makes of a whole sequence.
using NextLogits = std::function<void(std::span<const std::int32_t> tokens, std::span<float> logits)>;
/// Values that depend on every token of the sequence; some ids are likelier than others.
void hashed_logits(std::span<const std::int32_t> tokens, std::span<float> logits);
/// Answers with `script`, whatever the prompt of `num_prompt` tokens is.
NextLogits scripted_logits(std::int64_t num_prompt, std::vector<std::int32_t> script);

struct FakeOptions {
  std::int64_t max_seq_len = 4096;
  int max_batch_size = 4;
  std::int64_t max_step_tokens = 64;
  std::int64_t num_pages = 64;
  std::int64_t page_size = 16;
  NextLogits next = hashed_logits;
  int fail_at_step = -1;
};

/// Writes tokens through the page table into memory and reads every sequence back from there, so that a wrong table,
/// position or count gives other tokens. Reports a test failure when a step breaks StepRunner's rules.
class FakeRanks : public StepRunner {
 public:
  explicit FakeRanks(FakeOptions options);
  std::int64_t vocab_size() const override { return kVocabSize; }
  std::int64_t max_seq_len() const override { return options_.max_seq_len; }
  int max_batch_size() const override { return options_.max_batch_size; }
  std::int64_t max_step_tokens() const override { return options_.max_step_tokens; }
  ConstTensor step(std::span<const SequenceStep> sequences) override;

  struct Part {
    std::int64_t num_cached;
    std::int64_t num_tokens;
    bool logits;
    bool operator==(const Part&) const = default;
  };
  /// All steps so far.
  const std::vector<std::vector<Part>>& steps() const { return steps_; }

 private:
  FakeOptions options_;
  std::vector<std::int32_t> memory_;  // [num_pages, page_size]
  std::vector<float> logits_;
  std::vector<std::vector<Part>> steps_;
};

/// Ranks, pages and a scheduler over them.
struct Rig {
  explicit Rig(FakeOptions options = {}, std::vector<std::int32_t> eos_token_ids = {});

  /// Iterates until no job is left and returns each job's last result, in order of serials.
  std::vector<Result> run();
  bool all_pages_free() const { return pages.num_free() == pages.num_pages(); }

  FakeRanks ranks;
  PageAllocator pages;
  std::shared_ptr<const Tokenizer> tokenizer;
  Scheduler scheduler;
};

/// Text up to the first stop string: the definition, on a whole text at once.
std::string cut_at_stop(const std::string& text, std::span<const std::string> stop_strings);

struct Answer {
  std::vector<std::int32_t> token_ids;
  std::string text;
  EosReason reason = EosReason::kNone;
};
/// What a job must give, computed without batch, pages and chunks.
Answer expected_answer(const Job& job, const NextLogits& next, const Tokenizer& tokenizer, std::int64_t max_seq_len);

}  // namespace tandem
