#include "device/tensor.h"

namespace tandem {

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int i = 0; i < shape.num_dims(); ++i) text += format("{}{}", i > 0 ? ", " : "", shape[i]);
  return text + "]";
}

void check_shape(std::string_view what, ConstTensor tensor, const Shape& expected) {
  if (tensor.shape() != expected) {
    fail(ErrorKind::kInternal, "{} has shape {}, expected {}", what, to_string(tensor.shape()), to_string(expected));
  }
}

void check_dtype(std::string_view what, ConstTensor tensor, DType expected) {
  if (tensor.dtype() != expected) {
    fail(ErrorKind::kInternal, "{} has dtype {}, expected {}", what, to_string(tensor.dtype()), to_string(expected));
  }
}

}  // namespace tandem
