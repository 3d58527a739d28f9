#include "device/stream.h"

#include <utility>

#include "base/error.h"
#include "device/cpu/thread_pool.h"

namespace tandem {

std::string to_string(Device device) {
  return format("{}:{}", device.is_cpu() ? "cpu" : "cuda", device.index);
}

Stream::Stream(Device device, std::unique_ptr<ThreadPool> pool) : device_(device), pool_(std::move(pool)) {}
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;
Stream::~Stream() = default;

Stream Stream::cpu(int num_threads, int device_index, int num_rivals) {
  return Stream({DeviceKind::kCpu, device_index}, std::make_unique<ThreadPool>(num_threads, num_rivals));
}

void Stream::synchronize() const {
  TANDEM_CHECK(device_.is_cpu(), "stream of {}", to_string(device_));
}

int Stream::num_threads() const {
  return pool_->num_threads();
}

void Stream::parallel_for(std::int64_t count, std::int64_t grain,
                          const std::function<void(std::int64_t, std::int64_t)>& body) const {
  pool_->parallel_for(count, grain, body);
}

}  // namespace tandem
