#include "kernels/matmul/row_kernels.h"

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/dequantise/dequantise.h"
#include "kernels/matmul/row_kernels_simd.h"

namespace tandem {
namespace {

// Any machine: dequantise_row a piece at a time, and sums in lanes that the compiler can turn into vectors.
constexpr int kMaxTokens = 8;
constexpr std::int64_t kPiece = 256;
constexpr int kSums = 16;

void dot(const RowTask& task) {
  const ConstMatrix& w = *task.w;
  for (std::int64_t r = task.row_begin; r < task.row_end; ++r) {
    std::array<std::array<float, kSums>, kMaxTokens> sums{};
    for (std::int64_t c = 0; c < w.cols; c += kPiece) {
      std::array<float, kPiece> weights;
      const std::int64_t count = std::min(kPiece, w.cols - c);
      dequantise_row(weights.data(), w.row(r) + dtype_bytes(w.dtype, c), w.dtype, count);
      for (int t = 0; t < task.num_tokens; ++t) {
        const float* x = task.x + t * w.cols + c;
        auto& sum = sums[static_cast<std::size_t>(t)];
        std::int64_t i = 0;
        for (; i + kSums <= count; i += kSums) {
          for (std::int64_t k = 0; k < kSums; ++k) {
            sum[static_cast<std::size_t>(k)] += weights[static_cast<std::size_t>(i + k)] * x[i + k];
          }
        }
        for (; i < count; ++i) sum[0] += weights[static_cast<std::size_t>(i)] * x[i];
      }
    }
    for (int t = 0; t < task.num_tokens; ++t) {
      auto& sum = sums[static_cast<std::size_t>(t)];
      for (std::size_t half = kSums / 2; half > 0; half /= 2) {
        for (std::size_t k = 0; k < half; ++k) sum[k] += sum[k + half];
      }
      task.y[t * task.y_stride + r] = sum[0] + (task.bias == nullptr ? 0.f : task.bias[r]);
    }
  }
}

}  // namespace

std::span<const RowKernels> row_kernels() {
  static const std::vector<RowKernels> kKernels = [] {
    std::vector<RowKernels> kernels;
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
      if (__builtin_cpu_supports("avx512vnni")) kernels.push_back(kRowKernelsAvx512Vnni);
      kernels.push_back(kRowKernelsAvx512);
    }
    if (avx2) kernels.push_back(kRowKernelsAvx2);
#endif
    kernels.push_back({"plain", kMaxTokens, [](const float*, std::int64_t, DType, ArrangedX&) {}, dot, dequantise_row});
    return kernels;
  }();
  return kKernels;
}

}  // namespace tandem
