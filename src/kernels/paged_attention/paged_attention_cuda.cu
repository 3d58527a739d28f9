#include "kernels/paged_attention/paged_attention_cuda.h"

#include "device/cuda/launch.cuh"
#include "kernels/elements.cuh"
#include "kernels/paged_attention/attention_plan.h"

namespace tandem {
namespace {

constexpr unsigned kThreads = 128;

// Columns outside of [begin, end) of a row of `cols`.
template <class T>
__global__ void zero_columns_kernel(T* out, std::int64_t cols, std::int64_t begin, std::int64_t end) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  T* row = out + std::int64_t{blockIdx.x} * cols;
  for (std::int64_t i = threadIdx.x; i < begin; i += kThreads) row[i] = rounded<T>(0.0f);
  for (std::int64_t i = end + threadIdx.x; i < cols; i += kThreads) row[i] = rounded<T>(0.0f);
}

cudaError_t has_tensor_cores(bool& has) {
  int device = 0, major = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  has = major >= 8;
  return error;
}

}  // namespace

int paged_attention_cuda(void* stream, DType dtype, const PagedAttentionCuda& args) {
  const std::int64_t used_cols = args.q_heads * args.head_dim;
  if (used_cols < args.out_cols) {
    const cuda::Grid grid{.blocks = static_cast<unsigned>(args.num_queries), .threads = kThreads};
    const cudaError_t error = dispatch_activation(dtype, [&]<class T>() {
      return cuda::launch(stream, grid, zero_columns_kernel<T>, static_cast<T*>(args.out), args.out_cols,
                          args.out_col_begin, args.out_col_begin + used_cols);
    });
    if (error != cudaSuccess) return error;
  }
  if (used_cols == 0) return cudaSuccess;
  if (dtype != DType::kF32 && !is_decode(args.num_queries, args.num_sequences)) {
    bool tensor_cores = false;
    const cudaError_t error = has_tensor_cores(tensor_cores);
    if (error != cudaSuccess) return error;
    if (tensor_cores) return prefill_attention_cuda(stream, dtype, args);
  }
  return decode_attention_cuda(stream, dtype, args);
}

}  // namespace tandem
