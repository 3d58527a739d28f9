#pragma once
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

/// Which two channels of a head form the pair i that turns by one angle.
enum class RopeStyle {
  kNeox,         ///< i and i + rotary_dim / 2 (Hugging Face's layout of all models)
  kInterleaved,  ///< 2 i and 2 i + 1 (GGUF's layout of Llama)
};

/// Rotary position embedding, in place: with angle = positions[t] * inv_freq[i] and (a, b) the pair i of a head,
///   a <- a cos(angle) * attention_scaling - b sin(angle) * attention_scaling
///   b <- b cos(angle) * attention_scaling + a sin(angle) * attention_scaling
///   x          [num_tokens, heads, head_dim]  activations, contiguous
///   positions  [num_tokens]                   i32, not negative
///   inv_freq   [rotary_dim / 2]               f32; rotary_dim <= head_dim, the channels from rotary_dim on stay
///   attention_scaling                         1, or yarn's factor
/// The angle is rounded to f32 as in Hugging Face; its sine and cosine are exact to f32, on GPUs within 2^-23. A
/// token's result does not depend on the other tokens, on the heads here or on the threads.
void rope(const Stream& stream, Tensor x, ConstTensor positions, ConstTensor inv_freq, float attention_scaling,
          RopeStyle style);

}  // namespace tandem
