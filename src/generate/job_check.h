#pragma once
// What a Job must satisfy before it may wait for its turn.

#include <cstdint>

#include "kernels/sample/sample.h"
#include "tandem/generator.h"

namespace tandem {

struct JobLimits {
  std::int64_t vocab_size = 0;
  std::int64_t max_seq_len = 0;
  std::int64_t cache_tokens = 0;
};

SamplingParams sampling_params(const Job& job);

/// Throws kInvalidArgument naming field and value of what is out of range or can never run within the limits.
/// Cuts max_new_tokens to what max_seq_len leaves.
void check_job(Job& job, const JobLimits& limits);

}  // namespace tandem
