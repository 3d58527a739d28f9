#pragma once
// Views of device memory: contiguous (row major), at most four dimensions, owning nothing.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/dtype.h"
#include "base/error.h"
#include "base/half.h"
#include "device/device.h"

namespace tandem {

class Shape {
 public:
  static constexpr int kMaxDims = 4;
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const std::int64_t> sizes) : num_dims_(static_cast<int>(sizes.size())) {
    TANDEM_CHECK(sizes.size() <= kMaxDims, "{} dimensions", sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i) sizes_[i] = sizes[i];
  }
  int num_dims() const { return num_dims_; }
  std::int64_t operator[](int i) const { return sizes_[static_cast<std::size_t>(i)]; }
  std::int64_t num_elements() const {
    std::int64_t n = 1;
    for (int i = 0; i < num_dims_; ++i) n *= sizes_[static_cast<std::size_t>(i)];
    return n;
  }
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, kMaxDims> sizes_{};
  int num_dims_ = 0;
};

/// "[2, 48, 384]"
std::string to_string(const Shape& shape);

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return DType::kF32;
  else if constexpr (std::is_same_v<T, F16>)
    return DType::kF16;
  else if constexpr (std::is_same_v<T, BF16>)
    return DType::kBF16;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return DType::kI32;
  else {
    static_assert(std::is_same_v<T, std::uint8_t>);
    return DType::kU8;
  }
}

/// Void is `void` (Tensor) or `const void` (ConstTensor). A Tensor converts to a ConstTensor.
template <class Void>
class BasicTensor {
 public:
  BasicTensor() = default;
  BasicTensor(Void* data, DType dtype, Shape shape, Device device)
      : data_(data), shape_(shape), dtype_(dtype), device_(device) {}
  template <class Other>
    requires(std::is_const_v<Void> && !std::is_const_v<Other>)
  BasicTensor(const BasicTensor<Other>& other)  // NOLINT: implicit on purpose
      : BasicTensor(other.raw(), other.dtype(), other.shape(), other.device()) {}

  Void* raw() const { return data_; }
  template <class T>
  auto* data() const {
    using Pointer = std::conditional_t<std::is_const_v<Void>, const T, T>;
    TANDEM_CHECK(dtype_ == dtype_of<T>(), "tensor is {}", to_string(dtype_));
    return static_cast<Pointer*>(data_);
  }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  Device device() const { return device_; }
  int num_dims() const { return shape_.num_dims(); }
  std::int64_t size(int i) const { return shape_[i]; }
  std::int64_t num_elements() const { return shape_.num_elements(); }
  std::size_t bytes() const { return dtype_bytes(dtype_, num_elements()); }

  /// Rows [begin, end) of dimension 0. For plain dtypes, or whole quantised rows.
  BasicTensor slice(std::int64_t begin, std::int64_t end) const {
    TANDEM_CHECK(0 <= begin && begin <= end && end <= size(0), "rows {} to {} of {}", begin, end, size(0));
    std::array<std::int64_t, Shape::kMaxDims> sizes{};
    std::int64_t row = 1;
    for (int i = 0; i < num_dims(); ++i) {
      sizes[static_cast<std::size_t>(i)] = shape_[i];
      if (i > 0) row *= shape_[i];
    }
    sizes[0] = end - begin;
    using Byte = std::conditional_t<std::is_const_v<Void>, const std::byte, std::byte>;
    return {static_cast<Byte*>(data_) + dtype_bytes(dtype_, begin * row), dtype_,
            Shape(std::span<const std::int64_t>(sizes.data(), static_cast<std::size_t>(num_dims()))), device_};
  }
  /// The same elements in another shape.
  BasicTensor reshape(Shape shape) const {
    TANDEM_CHECK(shape.num_elements() == num_elements(), "{} elements as {}", num_elements(), shape.num_elements());
    return {data_, dtype_, shape, device_};
  }

 private:
  Void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::kF32;
  Device device_;
};

using Tensor = BasicTensor<void>;
using ConstTensor = BasicTensor<const void>;

/// Throws kInternal naming `what` unless the tensor has this shape.
void check_shape(std::string_view what, ConstTensor tensor, const Shape& expected);
/// Throws kInternal naming `what` unless the tensor has this dtype.
void check_dtype(std::string_view what, ConstTensor tensor, DType expected);

/// dispatch_float(dtype, [&]<class T>() { ... }): T is float, F16 or BF16; throws for any other dtype.
template <class Body>
decltype(auto) dispatch_float(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kF32:
      return body.template operator()<float>();
    case DType::kF16:
      return body.template operator()<F16>();
    case DType::kBF16:
      return body.template operator()<BF16>();
    default:
      fail(ErrorKind::kInternal, "expected a float tensor, not {}", to_string(dtype));
  }
}

}  // namespace tandem
