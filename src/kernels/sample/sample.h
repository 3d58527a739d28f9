#pragma once
#include <cstdint>
#include <span>

#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// How a token is drawn. The defaults draw from the model's own distribution.
struct SamplingParams {
  float temperature = 1.0f;         ///< 0: the largest logit, ties to the lowest id
  std::int32_t top_k = 0;           ///< keep the k largest logits, and those equal to the k-th; 0: all
  float top_p = 1.0f;               ///< keep the most likely tokens until their probability reaches top_p; 1: all
  float min_p = 0.0f;               ///< keep tokens at least min_p times as likely as the likeliest
  float repetition_penalty = 1.0f;  ///< logits of tokens of the history are divided by it, negative ones multiplied
  std::uint64_t seed = 0;
};

/// Throws kInvalidArgument naming the value that is out of range.
void check_sampling_params(const SamplingParams& params);

/// The 53 random bits of a draw.
std::uint64_t draw_bits(std::uint64_t seed, std::uint64_t counter);

/// The next token id. Steps and definitions are those of Hugging Face's processors, in its order: repetition penalty,
/// temperature, top-k, top-p (which keeps at least one token; ties by lower id first), min-p, each over what the one
/// before left; then a draw from the softmax of the rest: the first id whose cumulated probability exceeds a uniform
/// number, the upper 53 of the 64 bits (w0, w1) = philox({counter, "samp", 0}, seed), as a fraction.
///   logits   [vocabulary] f32, finite; overwritten
///   history  ids whose logits are penalised, each once however often it occurs; all within the vocabulary
///   counter  number of the draw in its sequence: the random number depends on (seed, counter) alone
/// CPU only, on the calling thread. Throws kInternal naming the first logit that is not finite, kInvalidArgument for
/// parameters or history out of range.
std::int32_t sample(const Stream& stream, Tensor logits, std::span<const std::int32_t> history,
                    const SamplingParams& params, std::uint64_t counter);

}  // namespace tandem
