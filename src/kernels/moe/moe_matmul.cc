#include "kernels/moe/moe_matmul.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/activations.h"
#include "kernels/dequantise/dequantise.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/row_tile.h"
#include "kernels/moe/moe_matmul_cuda.h"

namespace tandem {
namespace {

void moe_matmul_on_gpu(const Stream& stream, Tensor y, ConstTensor x, std::span<const ConstMatrix> experts,
                       ConstTensor expert_ids, bool shared) {
  check_activations("moe_matmul: x", stream, x);
  if (y.dtype() != DType::kF32) check_dtype("moe_matmul: y", y, x.dtype());
  TANDEM_CHECK(expert_ids.device() == stream.device() && y.device() == stream.device(),
               "moe_matmul: expert_ids are on {}, y on {}, the stream on {}", to_string(expert_ids.device()),
               to_string(y.device()), to_string(stream.device()));
  TANDEM_CHECK(experts.size() <= kMaxExperts, "moe_matmul: {} experts, at most {}", experts.size(), kMaxExperts);
  const ConstMatrix& first = experts[0];
  ExpertsTask task{.row_stride = first.row_stride,
                   .rows = first.rows,
                   .cols = first.cols,
                   .x = x.raw(),
                   .slots_of_x = shared ? expert_ids.size(1) : 1,
                   .y = y.raw(),
                   .y_is_f32 = y.dtype() == DType::kF32,
                   .expert_ids = expert_ids.data<std::int32_t>(),
                   .num_slots = expert_ids.num_elements(),
                   .num_experts = static_cast<int>(experts.size())};
  bool tiles = true;
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const ConstMatrix& w = experts[i];
    check_weights("moe_matmul: an expert", stream, w);
    TANDEM_CHECK(w.dtype == first.dtype && w.row_stride == first.row_stride,
                 "moe_matmul: experts of {} and {}, rows {} and {} bytes apart", to_string(first.dtype),
                 to_string(w.dtype), first.row_stride, w.row_stride);
    tiles = tiles && row_tile_takes(x.dtype(), x.raw(), w.cols, w.dtype, w.data, w.row_stride);
    task.experts[i] = static_cast<const std::uint8_t*>(w.data);
  }
  TANDEM_CHECK(x.dtype() == DType::kF32 || first.dtype == DType::kF32 || first.dtype == x.dtype() ||
                   (is_quantised(first.dtype) && tiles),
               "moe_matmul: experts of {} with x of {} at {}", to_string(first.dtype), to_string(x.dtype()), x.raw());
  if (task.num_slots == 0 || task.rows == 0) return;
  if constexpr (kBuiltWithCuda) {
    check_launch("moe_matmul", stream, moe_matmul_cuda(stream.cuda_handle(), task, x.dtype(), first.dtype, tiles));
  }
}

}  // namespace

void moe_matmul(const Stream& stream, Tensor y, ConstTensor x, std::span<const ConstMatrix> experts,
                ConstTensor expert_ids) {
  check_dtype("moe_matmul: expert_ids", expert_ids, DType::kI32);
  TANDEM_CHECK(expert_ids.num_dims() == 2 && x.num_dims() == 2 && !experts.empty(),
               "moe_matmul: expert_ids {}, x {}, {} experts", to_string(expert_ids.shape()), to_string(x.shape()),
               experts.size());
  const std::int64_t num_tokens = expert_ids.size(0), k = expert_ids.size(1), num_rows = num_tokens * k;
  const std::int64_t rows = experts[0].rows, cols = experts[0].cols;
  const bool shared = x.size(0) == num_tokens;  // with k = 1 both readings are the same
  check_shape("moe_matmul: x", x, {shared ? num_tokens : num_rows, cols});
  check_shape("moe_matmul: y", y, {num_rows, rows});
  for (const ConstMatrix& expert : experts) {
    TANDEM_CHECK(expert.rows == rows && expert.cols == cols, "moe_matmul: experts [{}, {}] and [{}, {}]", rows, cols,
                 expert.rows, expert.cols);
  }
  if (!stream.device().is_cpu()) return moe_matmul_on_gpu(stream, y, x, experts, expert_ids, shared);
  check_dtype("moe_matmul: y", y, DType::kF32);
  check_dtype("moe_matmul: x", x, DType::kF32);
  const std::int32_t* ids = expert_ids.data<std::int32_t>();
  for (std::int64_t i = 0; i < num_rows; ++i) {
    TANDEM_CHECK(0 <= ids[i] && ids[i] < static_cast<std::int64_t>(experts.size()),
                 "moe_matmul: token {} goes to expert {} of {}", i / k, ids[i], experts.size());
  }

  if (num_tokens == 1 && shared) {  // decode: all chosen experts in one region of the threads
    thread_local std::vector<MatmulPart> parts;
    parts.clear();
    for (std::int64_t j = 0; j < k; ++j) {
      parts.push_back({.y = y.slice(j, j + 1), .w = experts[static_cast<std::size_t>(ids[j])], .bias = {}});
    }
    return matmul(stream, x, parts);
  }
  thread_local std::vector<std::int64_t> order;  // rows of y by expert
  order.resize(static_cast<std::size_t>(num_rows));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [ids](std::int64_t a, std::int64_t b) { return ids[a] < ids[b]; });
  thread_local std::vector<float> x_scratch, y_scratch;
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    const std::int32_t expert = ids[order[begin]];
    while (end < order.size() && ids[order[end]] == expert) ++end;
    const ConstMatrix& w = experts[static_cast<std::size_t>(expert)];
    const auto x_row = [&](std::size_t i) { return shared ? order[i] / k : order[i]; };
    const std::int64_t count = static_cast<std::int64_t>(end - begin);
    if (count == 1) {
      matmul(stream, y.slice(order[begin], order[begin] + 1), x.slice(x_row(begin), x_row(begin) + 1), w);
      continue;
    }
    x_scratch.resize(static_cast<std::size_t>(count * cols));
    y_scratch.resize(static_cast<std::size_t>(count * rows));
    for (std::size_t i = begin; i < end; ++i) {
      std::copy_n(x.data<float>() + x_row(i) * cols, cols,
                  x_scratch.data() + static_cast<std::int64_t>(i - begin) * cols);
    }
    matmul(stream, Tensor(y_scratch.data(), DType::kF32, {count, rows}, y.device()),
           ConstTensor(x_scratch.data(), DType::kF32, {count, cols}, x.device()), w);
    for (std::size_t i = begin; i < end; ++i) {
      std::copy_n(y_scratch.data() + static_cast<std::int64_t>(i - begin) * rows, rows,
                  y.data<float>() + order[i] * rows);
    }
  }
}

}  // namespace tandem
