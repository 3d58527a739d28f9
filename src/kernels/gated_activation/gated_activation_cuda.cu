#include "kernels/gated_activation/gated_activation_cuda.h"

#include "kernels/map.cuh"

namespace tandem {
namespace {

struct Silu {
  __device__ float operator()(float x, float up) const { return x / (1.0f + expf(-x)) * up; }
};

struct GeluTanh {
  // (1 + tanh u) / 2 = 1 / (1 + e^-2u), which does not cancel for negative u.
  __device__ float operator()(float x, float up) const {
    const float u = (x * x * x * 0.044715f + x) * 0.79788456f;
    return x / (1.0f + expf(-2.0f * u)) * up;
  }
};

struct Gelu {
  // 1 + erf u = erfc(-u), which does not cancel.
  __device__ float operator()(float x, float up) const { return 0.5f * x * erfcf(x * -0.70710678f) * up; }
};

}  // namespace

int gated_activation_cuda(void* stream, DType dtype, void* y, const void* gate, const void* up, std::int64_t count,
                          Activation activation) {
  return dispatch_activation(dtype, [&]<class T>() {
    const auto map = [&](const auto& function) {
      return launch_map(stream, static_cast<T*>(y), count, function, static_cast<const T*>(gate),
                        static_cast<const T*>(up));
    };
    switch (activation) {
      case Activation::kSilu:
        return map(Silu{});
      case Activation::kGeluTanh:
        return map(GeluTanh{});
      default:
        return map(Gelu{});
    }
  });
}

}  // namespace tandem
