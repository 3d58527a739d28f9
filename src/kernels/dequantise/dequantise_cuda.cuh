#pragma once
// Rows of weights of any dtype on GPUs, eight elements at a time, as f32.
//
// A reader is a type with load8(out, row, i): out[0, 8) = elements [i, i + 8) of the row of weights at `row`; i is a
// multiple of 8, and the row has these elements.

#include "kernels/dequantise/block_decoders.h"
#include "kernels/elements.cuh"

namespace tandem {

/// Rows of blocks; they start at even addresses.
template <class Format>
struct BlockReader {
  static __device__ void load8(float (&out)[8], const std::byte* row, std::int64_t i) {
    Format::decode8(out, row + i / Format::kSize * Format::kBytes, static_cast<int>(i % Format::kSize));
  }
};

/// Rows of floats that start at multiples of 16 bytes.
template <class T>
struct FloatReader {
  static __device__ void load8(float (&out)[8], const std::byte* row, std::int64_t i) {
    constexpr int kCount = Elements16<T>::kCount;
#pragma unroll
    for (int begin = 0; begin < 8; begin += kCount) {
      const Elements16<T> elements = load16(reinterpret_cast<const T*>(row) + i + begin);
#pragma unroll
      for (int k = 0; k < kCount; ++k) out[begin + k] = as_float(elements.values[k]);
    }
  }
};

}  // namespace tandem
