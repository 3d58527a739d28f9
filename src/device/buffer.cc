#include "device/buffer.h"

#include <sys/mman.h>

#include <utility>

#include "base/error.h"
#include "device/cuda/runtime.h"

namespace tandem {

namespace {

// Anonymous mappings rather than the heap: pages arrive zeroed and on first touch (so on the toucher's NUMA node), and
// go back to the system when freed.
void* map_pages(Device device, std::size_t bytes) {
  void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) fail(ErrorKind::kOutOfMemory, "{}: cannot allocate {} bytes", to_string(device), bytes);
  return mapped;
}

}  // namespace

Buffer::Buffer(Device device, std::size_t bytes) : bytes_(bytes), device_(device) {
  if (bytes == 0) return;
  if (device.is_cpu()) {
    data_ = map_pages(device, bytes);
  } else if constexpr (kBuiltWithCuda) {
    data_ = cuda::allocate(device.index, bytes);
  } else {
    fail(ErrorKind::kUnsupported, "{}: this build has no CUDA", to_string(device));
  }
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)), device_(other.device_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  return *this;
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  if (device_.is_cpu()) {
    ::munmap(data_, bytes_);
  } else if constexpr (kBuiltWithCuda) {
    cuda::release(device_.index, data_);
  }
}

Tensor Buffer::tensor(DType dtype, Shape shape, std::size_t offset) const {
  const std::size_t wanted = dtype_bytes(dtype, shape.num_elements());
  TANDEM_CHECK(offset % 64 == 0 && offset <= bytes_ && wanted <= bytes_ - offset, "{} bytes at {} of {}", wanted,
               offset, bytes_);
  return {static_cast<std::byte*>(data_) + offset, dtype, shape, device_};
}

}  // namespace tandem
