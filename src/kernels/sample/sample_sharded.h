#pragma once
// sample() over a vocabulary that is cut over ranks, on CPUs and GPUs, without gathering logits (decision 0014).
//
// A draw is a row of steps. After each, the caller gathers the messages of all ranks:
//
//   SampleStep previous = SampleStep::kStart;
//   for (SampleStep next : sample_steps(rows, vocabulary)) {
//     sample_step(stream, shard, previous, gathered[previous], next, message[next]);
//     if (next != SampleStep::kEnd) communicator.all_gather(stream, gathered[next], message[next]);
//     previous = next;
//   }

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "device/stream.h"
#include "device/tensor.h"
#include "kernels/sample/sample.h"
#include "kernels/sample/sample_steps.h"

namespace tandem {

/// A draw's parameters as the steps take them; the random number is that of sample(). Throws as check_sampling_params.
SampleRow sample_row(const SamplingParams& params, std::uint64_t counter, std::int32_t num_history);

/// The steps of a draw of these rows, in order, kEnd the last: the same on every rank. One that serves a filter is
/// among them if any row has that filter; further steps than a row needs leave its token as it is.
std::vector<SampleStep> sample_steps(std::span<const SampleRow> rows, std::int64_t vocabulary);

/// One rank's part of a draw.
struct SampleShard {
  ConstTensor logits;            ///< [rows, share] f32; share may be 0
  std::int64_t vocab_begin = 0;  ///< the token of the first; ranks follow each other in order of tokens
  std::int64_t vocabulary = 0;   ///< of all ranks, at most kMaxSampledVocabulary
  int rank = 0, world_size = 1;
  ConstTensor rows;     ///< [rows, sizeof(SampleRow)] u8: SampleRows
  ConstTensor history;  ///< [rows, any] i32, of which a row's first num_history are read. Tokens outside of the
                        ///< share are nobody's business here: other ranks have them, or none
  Tensor scratch;       ///< [sample_scratch_bytes()] u8, kept from the first step to the last
};

/// Masses of 2^44 and less add up to 64 bits.
inline constexpr std::int64_t kMaxSampledVocabulary = 1 << 19;

std::size_t sample_scratch_bytes(std::int64_t rows, std::int64_t share);

/// The shape of a step's message, i32; that of the gathered ones is [world_size, ...].
Shape sample_message_shape(SampleStep step, std::int64_t rows);

/// Takes what was gathered of step `previous`, and writes this rank's message of step `next`; for kEnd, the tokens.
///   gathered  [world_size, sample_message_shape(previous)] i32; ignored for kStart
///   message   sample_message_shape(next) i32; for kEnd [rows] i32: the token of each row, on every rank the same, or
///             -1 less the first token whose logit is not finite
/// Queued on `stream`, does not wait. The number of threads and ranks changes no token.
void sample_step(const Stream& stream, const SampleShard& shard, SampleStep previous, ConstTensor gathered,
                 SampleStep next, Tensor message);

}  // namespace tandem
