#pragma once
// Products of many tokens by NVIDIA's cuBLASLt, which is found when the program runs.

#include <cstddef>
#include <memory>

#include "kernels/matmul/gemm_cuda.h"

namespace tandem {

/// cuBLASLt on one GPU. Any thread; lives as long as the process.
class CublasLt {
 public:
  /// Made at the first call for `device`, which must not be while a graph is recorded. Null: this machine has no
  /// cuBLASLt, or none that serves this GPU; a line of the log says so.
  static CublasLt* of(int device);
  ~CublasLt();

  /// Queues y = x * w^T, f32 sums, on `stream`; `accumulate`: is added to what y holds. The task's bias is not read.
  /// The workspace may be empty. false: cuBLASLt has no algorithm for this task (a line of the log), nothing is queued.
  bool multiply(void* stream, const GemmTask& task, bool accumulate, void* workspace, std::size_t workspace_bytes);

 private:
  struct State;
  explicit CublasLt(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tandem
