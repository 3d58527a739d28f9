#pragma once
// src/kernels/instructions.cuh on emulated GPUs: it comes first on the include path.

#include <cstdint>

#include "kernels/elements.cuh"

namespace tandem {

inline float exp2_approx(float x) {
  return x < -126 ? 0 : std::exp2(x);
}

template <class T>
std::uint32_t packed(float low, float high) {
  const T pair[] = {rounded<T>(low), rounded<T>(high)};
  return std::bit_cast<std::uint32_t>(pair);
}

namespace instructions_detail {
template <class T>
float half_of(std::uint32_t pair, unsigned i) {
  return as_float(std::bit_cast<T>(static_cast<std::uint16_t>(pair >> (16 * i))));
}
}  // namespace instructions_detail

template <class T>
void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  struct Words {
    std::uint32_t a[4], b[2];
  };
  const emulation::Lanes<Words> lanes(0xffffffffu, emulation::WarpFunction::kMatrix,
                                      Words{{a[0], a[1], a[2], a[3]}, {b0, b1}});
  const unsigned lane = emulation::lane(), g = lane / 4, c = lane % 4;
  for (unsigned i = 0; i < 4; ++i) {  // lanes 4r + i have columns 2i, 2i + 1, 2i + 8 and 2i + 9
    const Words rows = lanes[4 * g + i];
    const Words cols[] = {lanes[4 * (2 * c) + i], lanes[4 * (2 * c + 1) + i]};
    for (unsigned upper = 0; upper < 2; ++upper) {
      for (unsigned half = 0; half < 2; ++half) {
        const float a0 = instructions_detail::half_of<T>(rows.a[2 * upper], half);
        const float a8 = instructions_detail::half_of<T>(rows.a[2 * upper + 1], half);
        for (unsigned col = 0; col < 2; ++col) {
          const float b = instructions_detail::half_of<T>(cols[col].b[upper], half);
          d[col] += a0 * b;
          d[2 + col] += a8 * b;
        }
      }
    }
  }
}

inline std::uint32_t transposed(std::uint32_t x) {
  const emulation::Lanes<std::uint32_t> lanes(0xffffffffu, emulation::WarpFunction::kMatrix, x);
  const unsigned lane = emulation::lane(), g = lane / 4, c = lane % 4;
  const auto element = [&](unsigned row, unsigned col) { return lanes[4 * row + col / 2] >> (col % 2 * 16) & 0xffff; };
  return element(2 * c, g) | element(2 * c + 1, g) << 16;
}

namespace instructions_detail {
template <class Element>
void load_matrices(std::uint32_t (&to)[4], const uint4* row, const Element& element) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) emulation::fail("a row of a matrix is not aligned");
  const emulation::Lanes<const uint4*> lanes(0xffffffffu, emulation::WarpFunction::kMatrix, row);
  for (unsigned m = 0; m < 4; ++m) {
    const auto of_matrix = [&](unsigned r, unsigned col) {
      std::uint16_t halves[8];
      std::memcpy(halves, lanes[8 * m + r], sizeof(halves));
      return std::uint32_t{halves[col]};
    };
    to[m] = element(of_matrix, 0) | element(of_matrix, 1) << 16;
  }
}
}  // namespace instructions_detail

inline void load_matrices(std::uint32_t (&to)[4], const uint4* row) {
  const unsigned lane = emulation::lane(), g = lane / 4, c = lane % 4;
  instructions_detail::load_matrices(to, row, [&](const auto& at, unsigned i) { return at(g, 2 * c + i); });
}
inline void load_matrices_transposed(std::uint32_t (&to)[4], const uint4* row) {
  const unsigned lane = emulation::lane(), g = lane / 4, c = lane % 4;
  instructions_detail::load_matrices(to, row, [&](const auto& at, unsigned i) { return at(2 * c + i, g); });
}

/// Done in wait_for_copies(): what is read before it is what was there.
inline void start_copy16(uint4* to, const void* from, bool is_read) {
  emulation::start_copy16(to, is_read ? from : nullptr);
}
inline void wait_for_copies() {
  emulation::finish_copies();
}

}  // namespace tandem
