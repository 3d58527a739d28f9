#pragma once
// What tests of CUDA kernels share: tensors on a GPU over values of the host, and back.

#include <vector>

#include "base/half.h"
#include "device/buffer.h"
#include "device/cuda/runtime.h"
#include "device/matrix.h"
#include "device/stream.h"
#include "kernels/testing.h"

namespace tandem {

inline constexpr DType kActivationTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

/// One step between neighbours of a dtype at 1: what rounding to it may change is half of it, relative.
inline double epsilon_of(DType dtype) {
  return dtype == DType::kF32 ? 1.2e-7 : dtype == DType::kF16 ? 9.8e-4 : 7.9e-3;
}

/// As they are after a round trip through `dtype`.
inline std::vector<float> rounded_to(DType dtype, std::vector<float> values) {
  dispatch_float(dtype, [&]<class T>() {
    for (float& value : values) value = to_float(from_float<T>(value));
  });
  return values;
}

/// GPU 0 and a stream of it; every test of a kernel starts with one.
class CudaRig {
 public:
  CudaRig() : stream_(make_stream()) {}
  const Stream& stream() const { return stream_; }
  Device device() const { return stream_.device(); }

  OwnedTensor upload(const std::vector<float>& values, DType dtype, Shape shape) const {
    TANDEM_CHECK(shape.num_elements() == static_cast<std::int64_t>(values.size()), "{} values", values.size());
    return dispatch_float(dtype, [&]<class T>() { return upload_as<T>(values, shape, from_float<T>); });
  }
  OwnedTensor upload(const std::vector<std::int32_t>& values, Shape shape) const {
    return upload_as<std::int32_t>(values, shape, [](std::int32_t x) { return x; });
  }
  /// Bytes as they are, for blocks of weights.
  Buffer upload_bytes(const std::vector<std::byte>& bytes) const {
    Buffer buffer(device(), bytes.size());
    cuda::copy(stream_.cuda_handle(), buffer.data(), bytes.data(), bytes.size());
    stream_.synchronize();
    return buffer;
  }
  /// Filled with NaNs, so that what a kernel does not write shows.
  OwnedTensor unwritten(DType dtype, Shape shape) const {
    OwnedTensor result(device(), dtype, shape);
    const std::vector<std::byte> bytes(result.tensor.bytes(), std::byte{0xff});
    cuda::copy(stream_.cuda_handle(), result.tensor.raw(), bytes.data(), bytes.size());
    stream_.synchronize();
    return result;
  }

  std::vector<float> download(ConstTensor tensor) const {
    std::vector<float> values(static_cast<std::size_t>(tensor.num_elements()));
    dispatch_float(tensor.dtype(), [&]<class T>() {
      const std::vector<T> elements = download_as<T>(tensor);
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = to_float(elements[i]);
    });
    return values;
  }
  template <class T>
  std::vector<T> download_as(ConstTensor tensor) const {
    std::vector<T> elements(static_cast<std::size_t>(tensor.num_elements()));
    stream_.synchronize();
    cuda::copy(stream_.cuda_handle(), elements.data(), tensor.raw(), tensor.bytes());
    stream_.synchronize();
    return elements;
  }

 private:
  static Stream make_stream() {
    cuda::use_device(0);
    return Stream::cuda(0);
  }
  template <class T, class From, class Convert>
  OwnedTensor upload_as(const std::vector<From>& values, Shape shape, const Convert& convert) const {
    std::vector<T> elements(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) elements[i] = convert(values[i]);
    OwnedTensor result(device(), dtype_of<T>(), shape);
    cuda::copy(stream_.cuda_handle(), result.tensor.raw(), elements.data(), result.tensor.bytes());
    stream_.synchronize();
    return result;
  }

  Stream stream_;
};

}  // namespace tandem
