#pragma once

namespace tandem {

enum class Activation {
  kSilu,      ///< x / (1 + e^-x)
  kGeluTanh,  ///< x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), "gelu_pytorch_tanh" of Hugging Face
  kGelu,      ///< x / 2 (1 + erf(x / sqrt 2))
};

}  // namespace tandem
