#include "kernels/gated_activation/gated_activation.h"

#include <cmath>
#include <cstring>

#include "kernels/activations.h"
#include "kernels/gated_activation/gated_activation_cuda.h"
#include "kernels/simd/isa.h"

#define TANDEM_SIMD_FILE "kernels/gated_activation/gated_activation_simd.inc"
#include "kernels/simd/for_each_isa.inc"

namespace tandem {
namespace {

// None of the architectures we know uses it: plain loops.
void gelu_row(float* y, const float* gate, const float* up, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = 0.5f * gate[i] * (1.0f + std::erf(gate[i] * 0.70710678f)) * up[i];
  }
}

}  // namespace

void gated_activation(const Stream& stream, Tensor y, ConstTensor gate, ConstTensor up, Activation activation) {
  check_activations("gated_activation: y", stream, y);
  check_activations("gated_activation: gate", stream, gate);
  check_activations("gated_activation: up", stream, up);
  check_dtype("gated_activation: gate", gate, y.dtype());
  check_dtype("gated_activation: up", up, y.dtype());
  check_shape("gated_activation: gate", gate, y.shape());
  check_shape("gated_activation: up", up, y.shape());
  if (y.num_elements() == 0) return;
  if (!stream.device().is_cpu()) {
    if constexpr (kBuiltWithCuda) {
      return check_launch("gated_activation", stream,
                          gated_activation_cuda(stream.cuda_handle(), y.dtype(), y.raw(), gate.raw(), up.raw(),
                                                y.num_elements(), activation));
    }
  }
  const auto row = activation == Activation::kSilu       ? TANDEM_PICK_ISA(silu_row)
                   : activation == Activation::kGeluTanh ? TANDEM_PICK_ISA(gelu_tanh_row)
                                                         : &gelu_row;
  float* to = y.data<float>();
  const float* a = gate.data<float>();
  const float* b = up.data<float>();
  stream.parallel_for(y.num_elements(), 1 << 13, [=](std::int64_t begin, std::int64_t end) {
    row(to + begin, a + begin, b + begin, end - begin);
  });
}

}  // namespace tandem
