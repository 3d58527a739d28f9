#pragma once
// A step's batch, where the kernels of a rank read it.

#include <cstdint>
#include <vector>

#include "device/buffer.h"
#include "device/cuda/runtime.h"
#include "device/stream.h"

namespace tandem {

/// A step's batch, the same on all ranks; on the host, made by the scheduling thread.
struct StepBatch {
  std::vector<std::int32_t> token_ids;      ///< [num_tokens], sequence after sequence
  std::vector<std::int32_t> positions;      ///< [num_tokens]
  std::vector<std::int32_t> slots;          ///< [num_tokens] page * page_size + place: where keys and values go
  std::vector<std::int32_t> query_begin;    ///< [num_sequences + 1]
  std::vector<std::int32_t> context_len;    ///< [num_sequences], with the new tokens
  std::vector<std::int32_t> page_table;     ///< [num_sequences, max_pages]
  std::vector<std::int32_t> logits_tokens;  ///< rows of token_ids whose logits are wanted
  std::int64_t num_tokens() const { return static_cast<std::int64_t>(token_ids.size()); }
  std::int64_t num_sequences() const { return static_cast<std::int64_t>(context_len.size()); }
  std::int64_t num_logits() const { return static_cast<std::int64_t>(logits_tokens.size()); }
};

/// The same as i32 tensors in a rank's memory.
struct StepTensors {
  ConstTensor token_ids, positions, slots, query_begin, context_len, page_table, logits_tokens;
};

/// Belongs to a rank's thread.
class StepInputs {
 public:
  StepInputs() = default;
  /// With room for batches of so many numbers in all. On GPUs the memory is taken here: to take pinned memory within a
  /// step may wait for what runs on the GPUs, and so for a rank that waits for this one.
  StepInputs(Device device, std::int64_t numbers);

  /// On CPUs: views of `batch`. On GPUs: copies, queued on `stream`, in memory of this object. Batches with the same
  /// numbers of tokens, sequences, pages and logits have the same tensors. The kernels of the step before are done.
  StepTensors place(const Stream& stream, const StepBatch& batch);

 private:
  Buffer on_device_;
  cuda::PinnedBuffer staging_;
};

}  // namespace tandem
