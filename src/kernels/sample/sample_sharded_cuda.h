#pragma once
// sample_step on GPUs. Arguments are checked by the caller.

#include <cstdint>

#include "kernels/sample/sample_steps.h"

namespace tandem {

/// Keys of a row begin every so many.
TANDEM_HD constexpr std::int64_t sample_key_stride(std::int64_t share) {
  return (share + 3) / 4 * 4;
}

struct SampleStepArguments {
  const float* logits = nullptr;
  std::int64_t num_rows = 0, share = 0, vocab_begin = 0, vocabulary = 0;
  int rank = 0, world_size = 1;
  const SampleRow* rows = nullptr;
  const std::int32_t* history = nullptr;
  std::int64_t history_stride = 0;
  sampling::State* states = nullptr;  ///< scratch: one a row
  std::uint32_t* keys = nullptr;      ///< scratch: sample_key_stride(share) a row, at a multiple of 16 bytes
  SampleStep previous = SampleStep::kStart, next = SampleStep::kLargest;
  const std::uint64_t* gathered = nullptr;
  std::uint64_t* message = nullptr;  ///< unless next is kEnd
  std::int32_t* tokens = nullptr;    ///< if it is
};

/// Returns a cudaError_t.
int sample_step_cuda(void* stream, const SampleStepArguments& arguments);

}  // namespace tandem
