#pragma once
// One forward pass over a batch of sequences: what the scheduler asks of the ranks.

#include <cstdint>
#include <span>

#include "device/tensor.h"

namespace tandem {

enum class LogitsOf { kNone, kLastToken, kEveryToken };

/// The part of one sequence that a step computes.
struct SequenceStep {
  std::span<const std::int32_t> token_ids;  ///< new tokens, at least one
  std::int64_t num_cached = 0;              ///< tokens of the sequence that are in the cache already
  std::span<const std::int32_t> pages;      ///< page table: covers num_cached + token_ids.size() tokens
  LogitsOf logits = LogitsOf::kLastToken;
};

/// Runs steps. Implemented by the ranks of a loaded model, and by fakes in the scheduler's tests.
class StepRunner {
 public:
  virtual ~StepRunner() = default;
  virtual std::int64_t vocab_size() const = 0;
  virtual std::int64_t max_seq_len() const = 0;
  virtual int max_batch_size() const = 0;
  /// Tokens of one step, at most, over all sequences; longer prompts are fed in chunks.
  virtual std::int64_t max_step_tokens() const = 0;
  /// Appends the tokens' keys and values to the cache. Returns logits f32 [rows, vocab_size] on the host, the rows in
  /// order of sequence and token, valid until the next call. Throws what ended the step; the ranks are then dead.
  virtual ConstTensor step(std::span<const SequenceStep> sequences) = 0;
};

}  // namespace tandem
