#pragma once
// A rank's queue of work on its device.

#include <cstdint>
#include <functional>
#include <memory>

#include "device/device.h"

namespace tandem {

class ThreadPool;

/// Move-only. Everything queued on a stream is queued by one thread, the rank's own.
class Stream {
 public:
  /// A CPU stream: work runs at once, on the calling thread and num_threads - 1 others.
  /// `num_rivals`: threads that work at the same time, such as those of the other ranks.
  static Stream cpu(int num_threads, int device_index = 0, int num_rivals = 0);
  /// A stream of a GPU, in no order with any other stream. Throws kUnsupported in a build without CUDA.
  static Stream cuda(int device_index);
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  Device device() const { return device_; }
  /// Returns when all that was queued is done.
  void synchronize() const;
  /// CUDA streams only: the cudaStream_t.
  void* cuda_handle() const;

  /// CPU streams only: threads that share a parallel_for.
  int num_threads() const;
  /// CPU streams only: see ThreadPool::parallel_for. For the CPU twins of kernels.
  void parallel_for(std::int64_t count, std::int64_t grain,
                    const std::function<void(std::int64_t begin, std::int64_t end)>& body) const;

 private:
  Stream(Device device, std::unique_ptr<ThreadPool> pool, void* cuda);
  Device device_;
  std::unique_ptr<ThreadPool> pool_;  // CPU
  void* cuda_ = nullptr;              // CUDA
};

}  // namespace tandem
