#pragma once
// Generation of text: Jobs are put in a queue, run together in one batch, and join and leave it at any step.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/model.h"
#include "tandem/tokenizer.h"

namespace tandem {

/// What to generate. Values outside their range are refused by enqueue() (kInvalidArgument naming the field).
struct Job {
  std::vector<std::int32_t> input_ids;  ///< the prompt, at least one token
  int max_new_tokens = 256;             ///< at least 1; cut to what max_seq_len leaves
  // Sampling, in Hugging Face's order and definitions. temperature 0 is greedy.
  float temperature = 1.0f;
  int top_k = 0;                    ///< 0: off
  float top_p = 1.0f;               ///< 1: off
  float min_p = 0.0f;               ///< 0: off
  float repetition_penalty = 1.0f;  ///< 1: off; over prompt and answer
  std::uint64_t seed = 0;           ///< the same seed gives the same tokens, alone or in a batch
  /// UTF-8, not empty. The one that is complete first ends the answer (of several, the longest); neither it nor what
  /// follows it is part of the text.
  std::vector<std::string> stop_strings = {};
  std::vector<std::int32_t> stop_token_ids = {};  ///< beside the model's own end-of-text ids
  bool ignore_eos = false;                        ///< go on past the model's end-of-text ids
  bool decode_special_tokens = false;             ///< special tokens appear in the text
};

enum class Stage {
  kStarted,   ///< took its place in the batch; a part of the prompt may be computed already
  kPrefill,   ///< a further part of the prompt is computed
  kStreaming  ///< a token was sampled. The first result of a prompt that is computed in one step is of this stage
};
enum class EosReason {
  kNone,
  kMaxNewTokens,
  kStopToken,  ///< an end-of-text id of the model, or one of stop_token_ids
  kStopString,
  kCancelled
};
/// Stable kebab-case names, e.g. "max-new-tokens"; printed in --json output.
std::string_view to_string(Stage stage);
std::string_view to_string(EosReason reason);

/// One event of one job. Within an iterate() a job has at most one result.
struct Result {
  int serial = 0;
  Stage stage = Stage::kStarted;        ///< of a cancelled job: the one it had reached
  std::string text;                     ///< whole UTF-8 characters that became final in this step; may be empty
  std::vector<std::int32_t> token_ids;  ///< tokens sampled in this step; one that ends the answer is among them
  std::int64_t prompt_tokens_done = 0;  ///< tokens of the prompt that are in the cache
  bool eos = false;                     ///< the job's last result; the fields below are set with it
  EosReason eos_reason = EosReason::kNone;
  std::string full_text;
  int prompt_tokens = 0;
  int new_tokens = 0;  ///< all that were sampled, one that ends the answer included
  // Of a cancelled job, a time that had not come to its end runs to the cancellation; one that had not begun is 0.
  double time_enqueued_s = 0;        ///< waiting for a place in the batch
  double time_prefill_s = 0;         ///< from its start to the prompt's last token
  double time_to_first_token_s = 0;  ///< from enqueue() to the first sampled token
  double time_decode_s = 0;          ///< from the first sampled token to the last
};

/// Use from one thread, except cancel(). A cache serves one generator at a time.
class Generator {
 public:
  /// Throws kInvalidArgument when the three do not belong together or the cache is another generator's. Ranks that an
  /// error or Model::abort() has stopped work again.
  Generator(std::shared_ptr<Model> model, std::shared_ptr<Cache> cache, std::shared_ptr<const Tokenizer> tokenizer);
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  /// Queues a job and returns its serial, counting from 1. Throws kInvalidArgument when it can never run: empty prompt,
  /// ids outside the vocabulary, a prompt that leaves no room for an answer below max_seq_len, prompt and answer
  /// together longer than the cache, values outside their range.
  int enqueue(Job job);
  /// One step over all running jobs; empty when no job is left. Jobs start in the order of enqueue(), each as soon as
  /// the batch has a place and the cache has room for its prompt and whole answer. An error is thrown and ends all
  /// jobs; from then on enqueue() and iterate() throw it again.
  std::vector<Result> iterate();
  /// Iterates until no job is left. Returns the last result of each job, in the order of enqueue().
  std::vector<Result> run_to_completion();
  int num_remaining_jobs() const;
  /// Ends a job at the next iterate(), with EosReason::kCancelled. Unknown or finished serials are ignored. Any thread.
  void cancel(int serial);
  /// Ends all jobs and frees their pages; later enqueue() throws. Idempotent.
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem
