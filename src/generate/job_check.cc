#include "generate/job_check.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace tandem {
namespace {

void check_ids(std::string_view field, std::span<const std::int32_t> ids, std::int64_t vocab_size) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    fail_with_hint(ErrorKind::kInvalidArgument,
                   format("{}[{}] is {}, outside the vocabulary of {} ids", field, i, ids[i], vocab_size),
                   "encode the text with the model's own tokenizer");
  }
}

void check_stop_strings(std::span<const std::string> stop_strings) {
  for (std::size_t i = 0; i < stop_strings.size(); ++i) {
    if (stop_strings[i].empty()) fail(ErrorKind::kInvalidArgument, "stop_strings[{}] is empty", i);
    if (const auto offset = find_invalid_utf8(stop_strings[i])) {
      fail(ErrorKind::kInvalidArgument, "stop_strings[{}] is not valid UTF-8: byte 0x{:02x} at offset {}", i,
           static_cast<unsigned char>(stop_strings[i][*offset]), *offset);
    }
  }
}

void check_length(Job& job, const JobLimits& limits) {
  const auto prompt_tokens = static_cast<std::int64_t>(job.input_ids.size());
  if (prompt_tokens >= limits.max_seq_len) {
    fail_with_hint(
        ErrorKind::kInvalidArgument,
        format("the prompt has {} tokens, max_seq_len is {}: no room for an answer", prompt_tokens, limits.max_seq_len),
        "shorten the prompt, or load the model with a larger max_seq_len");
  }
  if (prompt_tokens >= limits.cache_tokens) {
    fail_with_hint(ErrorKind::kInvalidArgument,
                   format("the prompt has {} tokens, the cache holds {}: no room for an answer", prompt_tokens,
                          limits.cache_tokens),
                   "shorten the prompt, or make a larger cache");
  }
  job.max_new_tokens = static_cast<int>(std::min<std::int64_t>(job.max_new_tokens, limits.max_seq_len - prompt_tokens));
  if (prompt_tokens + job.max_new_tokens > limits.cache_tokens) {
    fail_with_hint(
        ErrorKind::kInvalidArgument,
        format("the prompt has {} tokens and max_new_tokens is {}, the cache holds {}", prompt_tokens,
               job.max_new_tokens, limits.cache_tokens),
        format("set max_new_tokens to {} or less, or make a larger cache", limits.cache_tokens - prompt_tokens));
  }
}

}  // namespace

SamplingParams sampling_params(const Job& job) {
  return {.temperature = job.temperature,
          .top_k = job.top_k,
          .top_p = job.top_p,
          .min_p = job.min_p,
          .repetition_penalty = job.repetition_penalty,
          .seed = job.seed};
}

void check_job(Job& job, const JobLimits& limits) {
  if (job.input_ids.empty()) {
    fail_with_hint(ErrorKind::kInvalidArgument, "input_ids is empty", "give a prompt of at least one token");
  }
  if (job.max_new_tokens < 1) {
    fail(ErrorKind::kInvalidArgument, "max_new_tokens is {}, expected 1 or more", job.max_new_tokens);
  }
  check_sampling_params(sampling_params(job));
  check_ids("input_ids", job.input_ids, limits.vocab_size);
  check_ids("stop_token_ids", job.stop_token_ids, limits.vocab_size);
  check_stop_strings(job.stop_strings);
  check_length(job, limits);
}

}  // namespace tandem
