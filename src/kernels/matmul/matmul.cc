#include "kernels/matmul/matmul.h"

#include <algorithm>
#include <vector>

#include "kernels/activations.h"
#include "kernels/dequantise/dequantise.h"
#include "kernels/matmul/matmul_cpu.h"
#include "kernels/matmul/matmul_cuda.h"

namespace tandem {
namespace {

// Below this, decoding in registers beats a GEMM on decoded tiles (bench/kernels/matmul_bench, "crossover").
constexpr std::int64_t kMaxTokensByRows = 8;

// A share is no less than about 2 us of work, and a thread gets a few, so that one held up does not hold up all.
constexpr std::size_t kMinShareBytes = 16 * 1024;
constexpr int kSharesPerThread = 4;

const float* bias_of(const MatmulPart& part) {
  return part.bias.raw() == nullptr ? nullptr : part.bias.data<float>();
}

void check_part(ConstTensor x, const MatmulPart& part) {
  check_shape("matmul: y", part.y, {x.size(0), part.w.rows});
  TANDEM_CHECK(part.w.cols == x.size(1), "matmul: w has {} columns, x {}", part.w.cols, x.size(1));
  TANDEM_CHECK(part.w.rows <= 1 || part.w.row_stride >= dtype_bytes(part.w.dtype, part.w.cols),
               "matmul: row stride {} of w, {} columns of {}", part.w.row_stride, part.w.cols, to_string(part.w.dtype));
  if (part.bias.raw() == nullptr) return;
  check_shape("matmul: bias", part.bias, {part.w.rows});
  check_dtype("matmul: bias", part.bias, DType::kF32);
}

void check_part_on_cpu(ConstTensor x, const MatmulPart& part) {
  check_part(x, part);
  check_dtype("matmul: y", part.y, DType::kF32);
}

void check_part_on_gpu(const Stream& stream, ConstTensor x, const MatmulPart& part) {
  check_part(x, part);
  if (part.y.dtype() != DType::kF32) check_dtype("matmul: y", part.y, x.dtype());
  check_weights("matmul: w", stream, part.w);
  TANDEM_CHECK(
      part.y.device() == stream.device() && (part.bias.raw() == nullptr || part.bias.device() == stream.device()),
      "matmul: y is on {}, bias on {}, the stream on {}", to_string(part.y.device()), to_string(part.bias.device()),
      to_string(stream.device()));
  TANDEM_CHECK(x.dtype() == DType::kF32 || part.w.dtype == DType::kF32 || part.w.dtype == x.dtype() ||
                   is_quantised(part.w.dtype),
               "matmul: w is {}, x {}", to_string(part.w.dtype), to_string(x.dtype()));
}

void check_arguments(ConstTensor x, std::span<const MatmulPart> parts) {
  TANDEM_CHECK(x.num_dims() == 2, "matmul: x is {}", to_string(x.shape()));
  check_dtype("matmul: x", x, DType::kF32);
  for (const MatmulPart& part : parts) check_part_on_cpu(x, part);
}

}  // namespace

void matmul_rows(const Stream& stream, ConstTensor x, std::span<const MatmulPart> parts, const RowKernels& kernels) {
  const std::int64_t num_tokens = x.size(0), cols = x.size(1);
  const float* x_data = x.data<float>();
  struct Rows {
    std::size_t row_bytes, bytes;
    const ArrangedX* arranged;
  };
  thread_local std::vector<Rows> rows_scratch;  // these keep their memory from call to call
  thread_local std::vector<ArrangedX> arranged_scratch;
  rows_scratch.clear();
  arranged_scratch.resize(std::max(arranged_scratch.size(), parts.size()));
  std::size_t total = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const ConstMatrix& w = parts[i].w;
    const ArrangedX* arranged = nullptr;
    if (num_tokens == 1) {  // parts of one dtype share it
      std::size_t same = 0;
      while (parts[same].w.dtype != w.dtype) ++same;
      if (same == i) kernels.arrange(x_data, cols, w.dtype, arranged_scratch[i]);
      arranged = &arranged_scratch[same];
    }
    rows_scratch.push_back({dtype_bytes(w.dtype, cols), w.bytes(), arranged});
    total += w.bytes();
  }
  const Rows* const rows = rows_scratch.data();  // this thread's, for those that run the shares
  const auto num_shares = static_cast<std::int64_t>(
      std::clamp<std::size_t>(total * static_cast<std::size_t>(num_tokens) / kMinShareBytes, 1,
                              static_cast<std::size_t>(stream.num_threads() * kSharesPerThread)));
  // All rows of all parts in a line, cut into shares of equal bytes: a share is [begin, end) of the bytes, a row
  // belongs to the share that holds its first byte.
  stream.parallel_for(num_shares, 1, [&](std::int64_t first, std::int64_t last) {
    const std::size_t begin = total * static_cast<std::size_t>(first) / static_cast<std::size_t>(num_shares);
    const std::size_t end = total * static_cast<std::size_t>(last) / static_cast<std::size_t>(num_shares);
    std::size_t offset = 0;
    for (std::size_t i = 0; i < parts.size(); offset += rows[i].bytes, ++i) {
      const MatmulPart& part = parts[i];
      const auto row_at = [&](std::size_t byte) {
        if (byte <= offset) return std::int64_t{0};
        if (rows[i].row_bytes == 0) return part.w.rows;
        const std::size_t row = (byte - offset + rows[i].row_bytes - 1) / rows[i].row_bytes;
        return std::min(part.w.rows, static_cast<std::int64_t>(row));
      };
      RowTask task{.w = &part.w,
                   .row_begin = row_at(begin),
                   .row_end = last == num_shares ? part.w.rows : row_at(end),
                   .y_stride = part.w.rows,
                   .bias = bias_of(part),
                   .arranged = rows[i].arranged};
      for (std::int64_t t = 0; t < num_tokens && task.row_begin < task.row_end; t += kernels.max_tokens) {
        task.num_tokens = static_cast<int>(std::min<std::int64_t>(kernels.max_tokens, num_tokens - t));
        task.x = x_data + t * cols;
        task.y = part.y.data<float>() + t * part.w.rows;
        kernels.dot(task);
      }
    }
  });
}

void matmul_cpu(const Stream& stream, ConstTensor x, std::span<const MatmulPart> parts, const RowKernels& kernels) {
  if (x.size(0) <= kMaxTokensByRows || x.size(1) == 0) return matmul_rows(stream, x, parts, kernels);
  matmul_blocked(stream, x, parts, kernels);
}

void matmul(const Stream& stream, ConstTensor x, std::span<const MatmulPart> parts, Tensor scratch) {
  if (!stream.device().is_cpu()) {
    TANDEM_CHECK(x.num_dims() == 2, "matmul: x is {}", to_string(x.shape()));
    check_activations("matmul: x", stream, x);
    for (const MatmulPart& part : parts) check_part_on_gpu(stream, x, part);
    if (x.size(0) == 0) return;
    if constexpr (kBuiltWithCuda) return matmul_cuda(stream, x, parts, scratch);
  }
  check_arguments(x, parts);
  if (x.size(0) == 0) return;
  matmul_cpu(stream, x, parts, row_kernels().front());
}

void matmul(const Stream& stream, Tensor y, ConstTensor x, ConstMatrix w, ConstTensor bias, Tensor scratch) {
  const MatmulPart part{y, w, bias};
  matmul(stream, x, std::span(&part, 1), scratch);
}

std::size_t matmul_scratch_bytes(Device device, DType activations, std::int64_t num_tokens, const ConstMatrix& w) {
  if constexpr (kBuiltWithCuda) {
    if (!device.is_cpu()) return matmul_scratch_bytes_cuda(activations, num_tokens, w);
  }
  return 0;
}

void prepare_matmul(const Stream& stream) {
  if constexpr (kBuiltWithCuda) {
    if (!stream.device().is_cpu()) prepare_matmul_cuda(stream);
  }
}

void matmul_cpu_reference(ConstTensor x, std::span<const MatmulPart> parts) {
  check_arguments(x, parts);
  const std::int64_t num_tokens = x.size(0), cols = x.size(1);
  std::vector<float> row(static_cast<std::size_t>(cols));
  for (const MatmulPart& part : parts) {
    const float* bias = bias_of(part);
    for (std::int64_t r = 0; r < part.w.rows; ++r) {
      dequantise_row(row.data(), part.w.row(r), part.w.dtype, cols);
      for (std::int64_t t = 0; t < num_tokens; ++t) {
        double sum = bias == nullptr ? 0.0 : static_cast<double>(bias[r]);
        for (std::int64_t c = 0; c < cols; ++c) {
          sum += static_cast<double>(x.data<float>()[t * cols + c]) *
                 static_cast<double>(row[static_cast<std::size_t>(c)]);
        }
        part.y.data<float>()[t * part.w.rows + r] = static_cast<float>(sum);
      }
    }
  }
}

}  // namespace tandem
