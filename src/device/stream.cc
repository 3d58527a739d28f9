#include "device/stream.h"

#include <utility>

#include "base/error.h"
#include "device/cpu/thread_pool.h"
#include "device/cuda/runtime.h"

namespace tandem {

std::string to_string(Device device) {
  return format("{}:{}", device.is_cpu() ? "cpu" : "cuda", device.index);
}

Stream::Stream(Device device, std::unique_ptr<ThreadPool> pool, void* cuda)
    : device_(device), pool_(std::move(pool)), cuda_(cuda) {}

Stream::Stream(Stream&& other) noexcept
    : device_(other.device_), pool_(std::move(other.pool_)), cuda_(std::exchange(other.cuda_, nullptr)) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(pool_, other.pool_);
  std::swap(cuda_, other.cuda_);
  return *this;
}

Stream::~Stream() {
  if constexpr (kBuiltWithCuda) {
    if (cuda_ != nullptr) cuda::destroy_stream(device_.index, cuda_);
  }
}

Stream Stream::cpu(int num_threads, int device_index, int num_rivals) {
  return {{DeviceKind::kCpu, device_index}, std::make_unique<ThreadPool>(num_threads, num_rivals), nullptr};
}

Stream Stream::cuda(int device_index) {
  const Device device{DeviceKind::kCuda, device_index};
  if constexpr (kBuiltWithCuda) {
    return {device, nullptr, cuda::make_stream(device_index)};
  }
  fail(ErrorKind::kUnsupported, "{}: this build has no CUDA", to_string(device));
}

void Stream::synchronize() const {
  if constexpr (kBuiltWithCuda) {
    if (!device_.is_cpu()) cuda::synchronize(device_.index, cuda_);
  }
}

void* Stream::cuda_handle() const {
  TANDEM_CHECK(!device_.is_cpu(), "stream of {}", to_string(device_));
  return cuda_;
}

int Stream::num_threads() const {
  return pool_->num_threads();
}

void Stream::parallel_for(std::int64_t count, std::int64_t grain,
                          const std::function<void(std::int64_t, std::int64_t)>& body) const {
  pool_->parallel_for(count, grain, body);
}

}  // namespace tandem
