#include "model/rank_weights.h"

#include <algorithm>

#include "base/error.h"
#include "base/half.h"
#include "device/cuda/runtime.h"
#include "kernels/dequantise/dequantise.h"

namespace tandem {
namespace {

constexpr std::size_t kGpuAlignment = 256;                 // of a tensor in the arena
constexpr std::size_t kRowAlignment = 16;                  // of a row of a plain dtype: what a lane loads at once
constexpr std::size_t kCopyBytes = std::size_t{32} << 20;  // between two reports of progress

std::size_t round_up(std::size_t bytes, std::size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

// A matrix of the table: where it comes from, and where it goes.
struct MatrixPlace {
  const TensorEntry& entry;
  MatrixRange range;
  Slot slot;
  LoadedMatrix& target;
};
struct VectorPlace {
  const TensorEntry& entry;
  std::int64_t begin, end;
  OwnedTensor& target;
  OwnedTensor* norm;  ///< SlotWeights::norms, if it belongs there
};

bool follows_an_all_reduce(Slot slot) {
  return slot == Slot::kAttentionNorm || slot == Slot::kMlpNorm || slot == Slot::kFinalNorm;
}

/// Calls on_matrix and on_vector for each tensor that `shard` holds, in the table's order, with its place in `weights`.
template <class OnMatrix, class OnVector>
void for_each_tensor(RankWeights& weights, const WeightSource& source, std::span<const TensorUse> table,
                     const ModelConfig& config, const RankShard& shard, const OnMatrix& on_matrix,
                     const OnVector& on_vector) {
  weights.layers.resize(static_cast<std::size_t>(config.num_hidden_layers));
  for (const TensorUse& use : table) {
    SlotWeights& target = use.layer < 0 ? weights.model : weights.layers[static_cast<std::size_t>(use.layer)];
    const auto slot = static_cast<std::size_t>(use.slot);
    const TensorEntry& first = source.catalogue().at(use.tensor_name(0));
    const TensorPart part = tensor_part(use, config, shard, first.dtype);
    const auto range = [](const TensorPart& of, std::int64_t expert) {
      return MatrixRange{expert, of.rows.begin, of.rows.end, of.cols.begin, of.cols.end};
    };
    if (use.is_vector()) {
      OwnedTensor* norm = follows_an_all_reduce(use.slot) ? &target.norms[slot] : nullptr;
      on_vector(VectorPlace{first, part.rows.begin, part.rows.end, target.vectors[slot], norm});
    } else if (use.num_experts == 0) {
      on_matrix(MatrixPlace{first, range(part, 0), use.slot, target.matrices[slot]});
      if (use.slot == Slot::kWo) target.attention_col_pad = part.col_pad;
    } else {
      target.experts[slot].resize(static_cast<std::size_t>(use.num_experts));
      target.expert_matrices[slot].clear();
      for (std::int64_t expert = 0; expert < use.num_experts; ++expert) {
        const bool own_tensor = use.one_tensor_an_expert();
        const TensorEntry& entry = own_tensor ? source.catalogue().at(use.tensor_name(expert)) : first;
        // Experts may differ in dtype, and with it in where blocks begin.
        const TensorPart expert_part = tensor_part(use, config, shard, entry.dtype);
        LoadedMatrix& matrix = target.experts[slot][static_cast<std::size_t>(expert)];
        on_matrix(MatrixPlace{entry, range(expert_part, own_tensor ? 0 : expert), use.slot, matrix});
        target.expert_matrices[slot].push_back(matrix.matrix);
      }
    }
  }
}

void load_on_cpu(RankWeights& weights, const Stream& stream, const WeightSource& source,
                 std::span<const TensorUse> table, const ModelConfig& config, const RankShard& shard,
                 const std::function<void(std::size_t)>& progress) {
  for_each_tensor(
      weights, source, table, config, shard,
      [&](const MatrixPlace& place) {
        place.target = source.load_matrix(stream, place.entry, place.range);
        if (place.target.storage.data() == nullptr) {
          touch(stream, place.target.matrix, progress);
        } else {
          progress(place.target.matrix.bytes());
        }
      },
      [&](const VectorPlace& place) {
        place.target = source.load_vector(stream, place.entry, place.begin, place.end);
        progress(place.target.tensor.bytes());
      });
}

/// Where tensors lie in the arena of a GPU.
class ArenaPlan {
 public:
  ConstMatrix matrix(const MatrixPlace& place, DType dtype, Device device, const Buffer* arena) {
    const std::int64_t rows = place.range.row_end - place.range.row_begin;
    const std::int64_t cols = place.range.col_end - place.range.col_begin;
    const std::size_t row_bytes = dtype_bytes(dtype, cols);
    const std::size_t stride = is_float(dtype) ? round_up(row_bytes, kRowAlignment) : row_bytes;
    return {.data = take(static_cast<std::size_t>(rows) * stride, arena),
            .dtype = dtype,
            .rows = rows,
            .cols = cols,
            .row_stride = stride,
            .device = device};
  }
  Tensor vector(const VectorPlace& place, DType dtype, Device device, const Buffer* arena) {
    const std::int64_t size = place.end - place.begin;
    return {take(dtype_bytes(dtype, size), arena), dtype, {size}, device};
  }
  std::size_t used() const { return used_; }

 private:
  void* take(std::size_t bytes, const Buffer* arena) {
    const std::size_t offset = used_;
    used_ += round_up(bytes, kGpuAlignment);
    return arena == nullptr ? nullptr : static_cast<std::byte*>(arena->data()) + offset;
  }
  std::size_t used_ = 0;
};

/// Rows of `from` as rows of dtype `to`, one behind the other.
void convert_rows(const Stream& host, std::byte* out, const ConstMatrix& from, DType to) {
  const std::size_t row_bytes = dtype_bytes(to, from.cols);
  host.parallel_for(from.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(from.cols));
    for (std::int64_t r = begin; r < end; ++r) {
      dequantise_row(row.data(), from.row(r), from.dtype, from.cols);
      dispatch_float(to, [&]<class T>() {
        T* elements = reinterpret_cast<T*>(out + static_cast<std::size_t>(r) * row_bytes);
        for (std::size_t c = 0; c < row.size(); ++c) elements[c] = from_float<T>(row[c]);
      });
    }
  });
}

/// Piece by piece; memory of the host that is not pinned is free again when a copy from it returns.
void upload(const Stream& stream, const Stream& host, const ConstMatrix& to, const ConstMatrix& from,
            const std::function<void(std::size_t)>& progress) {
  if (from.rows == 0 || from.cols == 0) return;
  const std::size_t from_bytes = dtype_bytes(from.dtype, from.cols), to_bytes = dtype_bytes(to.dtype, to.cols);
  const auto rows_a_copy = static_cast<std::int64_t>(1 + kCopyBytes / std::max(from_bytes, to_bytes));
  std::vector<std::byte> converted;
  for (std::int64_t row = 0; row < from.rows; row += rows_a_copy) {
    ConstMatrix part = from.slice(row, std::min(from.rows, row + rows_a_copy), 0, from.cols);
    const auto num_rows = static_cast<std::size_t>(part.rows);
    if (to.dtype != from.dtype) {
      converted.resize(num_rows * to_bytes);
      convert_rows(host, converted.data(), part, to.dtype);
      part.data = converted.data();
      part.row_stride = to_bytes;
    }
    if constexpr (kBuiltWithCuda) {
      auto* out = const_cast<std::byte*>(to.row(row));  // views of weights are const; this is who writes them
      cuda::copy_rows(stream.cuda_handle(), out, to.row_stride, part.data, part.row_stride, to_bytes, num_rows);
      stream.synchronize();
    }
    progress(num_rows * from_bytes);
  }
}

void copy_to_gpu(const Stream& stream, const Tensor& out, const void* from) {
  if constexpr (kBuiltWithCuda) {
    cuda::copy(stream.cuda_handle(), out.raw(), from, out.bytes());
    stream.synchronize();
  }
}

void load_on_gpu(RankWeights& weights, const Stream& stream, const Stream& host, const WeightSource& source,
                 std::span<const TensorUse> table, const ModelConfig& config, const RankShard& shard, DType activations,
                 const std::function<void(std::size_t)>& progress) {
  const Device device = stream.device();
  weights.arena = Buffer(device, gpu_weight_bytes(source, table, config, shard, activations));
  ArenaPlan plan;
  for_each_tensor(
      weights, source, table, config, shard,
      [&](const MatrixPlace& place) {
        const DType dtype = gpu_dtype(place.entry.dtype, place.slot, activations);
        place.target.matrix = plan.matrix(place, dtype, device, &weights.arena);
        const LoadedMatrix from = source.load_matrix(host, place.entry, place.range);
        upload(stream, host, place.target.matrix, from.matrix, progress);
      },
      [&](const VectorPlace& place) {
        place.target.tensor = plan.vector(place, DType::kF32, device, &weights.arena);
        const OwnedTensor from = source.load_vector(host, place.entry, place.begin, place.end);
        copy_to_gpu(stream, place.target.tensor, from.tensor.raw());
        if (place.norm != nullptr) {
          place.norm->tensor = plan.vector(place, activations, device, &weights.arena);
          const auto offset = static_cast<float>(config.norm_weight_offset);
          dispatch_float(activations, [&]<class T>() {
            std::vector<T> weight;
            for (std::int64_t i = 0; i < from.tensor.num_elements(); ++i) {
              weight.push_back(from_float<T>(from.tensor.data<float>()[i] + offset));
            }
            copy_to_gpu(stream, place.norm->tensor, weight.data());
          });
        }
        progress(from.tensor.bytes());
      });
}

}  // namespace

DType activation_dtype(std::span<const TensorUse> table, const TensorCatalogue& catalogue, Device device) {
  if (device.is_cpu()) return DType::kF32;
  bool has_bf16 = false;
  if constexpr (kBuiltWithCuda) has_bf16 = cuda::device_info(device.index).major >= 8;
  const auto use = std::find_if(table.begin(), table.end(), [](const TensorUse& u) { return u.slot == Slot::kWq; });
  TANDEM_CHECK(use != table.end(), "a model without query projections");
  const DType weights = catalogue.at(use->tensor_name(0)).dtype;
  if (weights == DType::kBF16 && !has_bf16) {
    fail_with_hint(ErrorKind::kUnsupported,
                   format("the weights are bf16, which {} cannot compute with", to_string(device)),
                   "use a GPU of compute capability 8.0 or newer, or the model in f16 or quantised");
  }
  if (is_float(weights)) return weights;
  return has_bf16 ? DType::kBF16 : DType::kF16;
}

DType gpu_dtype(DType in_file, Slot slot, DType activations) {
  if (slot == Slot::kRouter && in_file == DType::kF32) return in_file;  // close calls between experts
  switch (in_file) {
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ8_0:
    case DType::kQ4_K:
    case DType::kQ6_K:
      return in_file;
    default:
      return activations;
  }
}

std::size_t gpu_weight_bytes(const WeightSource& source, std::span<const TensorUse> table, const ModelConfig& config,
                             const RankShard& shard, DType activations) {
  ArenaPlan plan;
  RankWeights places;
  for_each_tensor(
      places, source, table, config, shard,
      [&](const MatrixPlace& place) {
        plan.matrix(place, gpu_dtype(place.entry.dtype, place.slot, activations), Device{}, nullptr);
      },
      [&](const VectorPlace& place) {
        plan.vector(place, DType::kF32, Device{}, nullptr);
        if (place.norm != nullptr) plan.vector(place, activations, Device{}, nullptr);
      });
  return plan.used();
}

RankWeights load_rank_weights(const Stream& stream, const Stream& host, const WeightSource& source,
                              std::span<const TensorUse> table, const ModelConfig& config, const RankShard& shard,
                              DType activations, const std::function<void(std::size_t)>& progress) {
  RankWeights weights;
  if (stream.device().is_cpu()) {
    load_on_cpu(weights, stream, source, table, config, shard, progress);
  } else {
    load_on_gpu(weights, stream, host, source, table, config, shard, activations, progress);
  }
  return weights;
}

}  // namespace tandem
