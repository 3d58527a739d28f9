#pragma once
// Owned device memory.

#include <cstddef>

#include "device/device.h"
#include "device/tensor.h"

namespace tandem {

/// Move-only; frees on destruction. 64-byte aligned. CPU memory is zeroed, and costs nothing until touched; CUDA memory
/// is not, and may be freed only when nothing that is queued uses it.
class Buffer {
 public:
  Buffer() = default;
  /// Throws kOutOfMemory naming device and bytes.
  Buffer(Device device, std::size_t bytes);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  /// A tensor at byte `offset` (a multiple of 64); throws kInternal past the end.
  Tensor tensor(DType dtype, Shape shape, std::size_t offset = 0) const;

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Device device_;
};

/// A buffer that holds exactly one tensor: the common case, in tests above all.
struct OwnedTensor {
  OwnedTensor() = default;
  OwnedTensor(Device device, DType dtype, Shape shape)
      : buffer(device, dtype_bytes(dtype, shape.num_elements())), tensor(buffer.tensor(dtype, shape)) {}
  Buffer buffer;
  Tensor tensor;
};

}  // namespace tandem
