#pragma once
// Weight matrices for tests of GPUs: the same bytes on both sides.

#include <cstring>
#include <random>
#include <vector>

#include "kernels/cuda_testing.h"

namespace tandem {

inline constexpr DType kWeightTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0,
                                         DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
                                         DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

/// Rows of weights with `gap_cols` columns between them that belong to others: NaNs where the dtype has them.
class TestWeights {
 public:
  TestWeights(const CudaRig& rig, DType dtype, std::int64_t rows, std::int64_t cols, std::int64_t gap_cols,
              unsigned seed)
      : bytes_(static_cast<std::size_t>(rows) * dtype_bytes(dtype, cols + gap_cols)) {
    const std::size_t stride = dtype_bytes(dtype, cols + gap_cols);
    std::mt19937 random(seed);
    for (std::byte& byte : bytes_) byte = static_cast<std::byte>(random());
    const auto block_bytes = static_cast<std::size_t>(dtype_info(dtype).block_bytes);
    for (std::size_t at = 0; at < bytes_.size(); at += block_bytes) {
      set_scales(dtype, at, at % stride < dtype_bytes(dtype, cols), random);
    }
    buffer_ = rig.upload_bytes(bytes_);
    host_ = {bytes_.data(), dtype, rows, cols, stride, Device{}};
    device_ = {buffer_.data(), dtype, rows, cols, stride, rig.device()};
  }
  const ConstMatrix& host() const { return host_; }
  const ConstMatrix& device() const { return device_; }

 private:
  void set_scales(DType dtype, std::size_t at, bool ours, std::mt19937& random) {
    std::uniform_real_distribution<float> scale(-0.1f, 0.1f);
    const auto put = [&](std::size_t offset, auto value) {
      std::memcpy(bytes_.data() + at + offset, &value, sizeof(value));
    };
    const auto draw = [&](float factor) { return ours ? scale(random) * factor : std::nanf(""); };
    if (dtype == DType::kF32) return put(0, draw(1));
    if (dtype == DType::kBF16) return put(0, to_bf16(draw(1)));
    if (dtype == DType::kQ6_K) return put(208, to_f16(draw(1.0f / 64)));
    const bool super = dtype == DType::kQ4_K || dtype == DType::kQ5_K;
    put(0, to_f16(draw(super ? 1.0f / 64 : 1.0f)));
    if (dtype == DType::kQ4_1 || dtype == DType::kQ5_1) put(2, to_f16(draw(1)));
    if (super) put(2, to_f16(draw(1.0f / 64)));
  }

  std::vector<std::byte> bytes_;
  Buffer buffer_;
  ConstMatrix host_, device_;
};

}  // namespace tandem
