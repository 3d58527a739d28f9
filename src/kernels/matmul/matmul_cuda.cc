// Which kernel a product on GPUs takes.
#include "kernels/matmul/matmul_cuda.h"

#include <algorithm>

#include "kernels/activations.h"
#include "kernels/dequantise/dequantise_cuda.h"
#include "kernels/matmul/cublas_lt.h"
#include "kernels/matmul/gemm_cuda.h"
#include "kernels/matmul/matvec_cuda.h"
#include "kernels/matmul/row_tile.h"

namespace tandem {
namespace {

// Of cuBLASLt's; NVIDIA's advice for Hopper.
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

// Of expanded weights; a product of a slice this large is about as fast as that of a whole matrix.
constexpr std::size_t kSliceBytes = std::size_t{64} << 20;

std::int64_t slice_rows(DType activations, const ConstMatrix& w) {
  const std::size_t row_bytes = dtype_bytes(activations, w.cols);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(kSliceBytes / std::max<std::size_t>(row_bytes, 1)), 1,
                                  std::max<std::int64_t>(w.rows, 1));
}

// Of a slice; what lies behind it stays aligned.
std::size_t expanded_bytes(DType activations, const ConstMatrix& w) {
  if (!is_quantised(w.dtype)) return 0;
  return (static_cast<std::size_t>(slice_rows(activations, w)) * dtype_bytes(activations, w.cols) + 255) / 256 * 256;
}

const float* bias_of(const MatmulPart& part) {
  return part.bias.raw() == nullptr ? nullptr : part.bias.data<float>();
}

GemmTask gemm_task(ConstTensor x, const MatmulPart& part) {
  return {.y = part.y.raw(),
          .y_stride = part.w.rows,
          .y_dtype = part.y.dtype(),
          .x = x.raw(),
          .x_dtype = x.dtype(),
          .w = part.w.data,
          .w_dtype = part.w.dtype,
          .w_row_stride = part.w.row_stride,
          .bias = bias_of(part),
          .num_tokens = x.size(0),
          .rows = part.w.rows,
          .cols = x.size(1)};
}

// Products that cuBLASLt takes: both of one dtype.
bool for_library(DType activations, DType w) {
  return w == activations || is_quantised(w);
}

// `workspace` is cuBLASLt's.
void gemm(const Stream& stream, const GemmTask& task, std::span<std::byte> workspace) {
  CublasLt* library = task.w_dtype == task.x_dtype ? CublasLt::of(stream.device().index) : nullptr;
  if (library != nullptr) {
    const bool biased = task.bias != nullptr;
    if (biased) check_launch("matmul: bias", stream, fill_rows_cuda(stream.cuda_handle(), task));
    if (library->multiply(stream.cuda_handle(), task, biased, workspace.data(), workspace.size())) return;
  }
  check_launch("matmul of many tokens", stream, gemm_cuda(stream.cuda_handle(), task));
}

void many_tokens(const Stream& stream, ConstTensor x, const MatmulPart& part, Tensor scratch) {
  GemmTask task = gemm_task(x, part);
  const std::span<std::byte> room(static_cast<std::byte*>(scratch.raw()), scratch.bytes());
  if (!is_quantised(part.w.dtype)) return gemm(stream, task, room);
  const std::int64_t rows = slice_rows(x.dtype(), part.w);
  const std::size_t slice_bytes = expanded_bytes(x.dtype(), part.w);
  task.w = scratch.raw();
  task.w_dtype = x.dtype();
  task.w_row_stride = dtype_bytes(x.dtype(), part.w.cols);
  for (std::int64_t begin = 0; begin < part.w.rows; begin += rows) {
    task.rows = std::min(rows, part.w.rows - begin);
    task.y = static_cast<std::byte*>(part.y.raw()) + dtype_bytes(part.y.dtype(), begin);
    task.bias = bias_of(part) == nullptr ? nullptr : bias_of(part) + begin;
    check_launch("matmul: expanding weights", stream,
                 dequantise_cuda(stream.cuda_handle(), x.dtype(), scratch.raw(), part.w.dtype, part.w.row(begin),
                                 part.w.row_stride, task.rows, part.w.cols));
    gemm(stream, task, room.subspan(slice_bytes));
  }
}

void few_tokens(const Stream& stream, const MatvecTask& task, DType x_dtype, DType w_dtype) {
  bool mma = true;
  for (const MatvecPart& part : std::span(task.parts, static_cast<std::size_t>(task.num_parts))) {
    mma = mma && row_tile_takes(x_dtype, task.x, task.cols, w_dtype, part.w, part.row_stride);
  }
  TANDEM_CHECK(mma || x_dtype == DType::kF32 || !is_quantised(w_dtype), "matmul: x at {} for {} is not aligned to 16",
               task.x, to_string(w_dtype));
  check_launch("matmul of few tokens", stream,
               mma ? matvec_mma_cuda(stream.cuda_handle(), task, x_dtype, w_dtype)
                   : matvec_any_cuda(stream.cuda_handle(), task, x_dtype, w_dtype));
}

// Of the workspace of a product: NVIDIA's reference of cublasLtMatmul asks for it.
constexpr std::uintptr_t kScratchAlignment = 256;

void check_scratch(const Stream& stream, ConstTensor x, const ConstMatrix& w, Tensor scratch) {
  const std::size_t needed = matmul_scratch_bytes_cuda(x.dtype(), x.size(0), w);
  if (needed == 0) return;
  TANDEM_CHECK(scratch.raw() != nullptr && scratch.bytes() >= needed && scratch.device() == stream.device(),
               "matmul: scratch of {} bytes on {}, {} are needed on {} for {} tokens of {}, w {} [{}, {}]",
               scratch.raw() == nullptr ? 0 : scratch.bytes(), to_string(scratch.device()), needed,
               to_string(stream.device()), x.size(0), to_string(x.dtype()), to_string(w.dtype), w.rows, w.cols);
  TANDEM_CHECK(reinterpret_cast<std::uintptr_t>(scratch.raw()) % kScratchAlignment == 0, "matmul: scratch at {}",
               scratch.raw());
}

}  // namespace

std::size_t matmul_scratch_bytes_cuda(DType activations, std::int64_t num_tokens, const ConstMatrix& w) {
  if (num_tokens <= kMatvecMaxTokens || w.rows == 0 || w.cols == 0 || !for_library(activations, w.dtype)) return 0;
  return expanded_bytes(activations, w) + kWorkspaceBytes;
}

void prepare_matmul_cuda(const Stream& stream) {
  CublasLt::of(stream.device().index);
}

void matmul_cuda(const Stream& stream, ConstTensor x, std::span<const MatmulPart> parts, Tensor scratch) {
  MatvecTask task{.num_tokens = static_cast<int>(std::min<std::int64_t>(x.size(0), kMatvecMaxTokens)),
                  .x = x.raw(),
                  .cols = x.size(1)};
  DType dtype{};  // of the parts in `task`
  const auto queue_task = [&] {
    if (task.num_parts > 0) few_tokens(stream, task, x.dtype(), dtype);
    task.num_parts = 0;
  };
  for (const MatmulPart& part : parts) {
    if (part.w.rows == 0) continue;
    if (x.size(1) == 0) {
      check_launch("matmul of no columns", stream, fill_rows_cuda(stream.cuda_handle(), gemm_task(x, part)));
    } else if (x.size(0) > kMatvecMaxTokens) {
      check_scratch(stream, x, part.w, scratch);
      many_tokens(stream, x, part, scratch);
    } else {
      if (task.num_parts == kMatvecMaxParts || part.w.dtype != dtype) queue_task();
      dtype = part.w.dtype;
      task.parts[task.num_parts++] = {.w = static_cast<const std::uint8_t*>(part.w.data),
                                      .row_stride = part.w.row_stride,
                                      .rows = part.w.rows,
                                      .y = part.y.raw(),
                                      .bias = bias_of(part),
                                      .y_is_f32 = part.y.dtype() == DType::kF32};
    }
  }
  queue_task();
}

}  // namespace tandem
