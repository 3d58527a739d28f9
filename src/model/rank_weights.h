#pragma once
// One rank's share of a model's weights, by slot.

#include <array>
#include <functional>
#include <span>
#include <vector>

#include "device/buffer.h"
#include "device/stream.h"
#include "model/config.h"
#include "model/tensor_table.h"
#include "weights/shard_plan.h"
#include "weights/weight_source.h"

namespace tandem {

/// The tensors of one layer, or of the model as a whole. Absent ones are empty: a bias the model has not, an MLP in a
/// layer of experts.
struct SlotWeights {
  static constexpr std::size_t kNumSlots = static_cast<std::size_t>(Slot::kExpertDown) + 1;
  std::array<LoadedMatrix, kNumSlots> matrices;
  std::array<OwnedTensor, kNumSlots> vectors;
  /// On GPUs the weights of norms behind an all-reduce once more, with the model's offset, in the activations' dtype.
  std::array<OwnedTensor, kNumSlots> norms;
  std::array<std::vector<LoadedMatrix>, kNumSlots> experts;         ///< owned
  std::array<std::vector<ConstMatrix>, kNumSlots> expert_matrices;  ///< the same as views, one an expert
  std::int64_t attention_col_pad = 0;                               ///< foreign columns before this rank's in Wo

  const ConstMatrix& matrix(Slot slot) const { return matrices[static_cast<std::size_t>(slot)].matrix; }
  ConstTensor vector(Slot slot) const { return vectors[static_cast<std::size_t>(slot)].tensor; }
  ConstTensor norm(Slot slot) const { return norms[static_cast<std::size_t>(slot)].tensor; }
  bool has_vector(Slot slot) const { return vectors[static_cast<std::size_t>(slot)].tensor.raw() != nullptr; }
  std::span<const ConstMatrix> expert_views(Slot slot) const { return expert_matrices[static_cast<std::size_t>(slot)]; }
};

struct RankWeights {
  SlotWeights model;
  std::vector<SlotWeights> layers;
  Buffer arena;  ///< on GPUs, what all of them lie in
};

/// The dtype of a model's activations on `device`: f32 on a CPU; on a GPU that of the weights, and for quantised ones
/// bf16, or f16 where the GPU has no bf16. Throws kUnsupported for bf16 weights on such a GPU.
DType activation_dtype(std::span<const TensorUse> table, const TensorCatalogue& catalogue, Device device);

/// The dtype in which a matrix lies on a GPU: as in the file where kernels take it, else `activations`.
DType gpu_dtype(DType in_file, Slot slot, DType activations);

/// What load_rank_weights takes of a GPU.
std::size_t gpu_weight_bytes(const WeightSource& source, std::span<const TensorUse> table, const ModelConfig& config,
                             const RankShard& shard, DType activations);

/// Loads what `shard` holds, onto the stream's device, reading it all once, and done on return. `host`: a CPU stream
/// for the work of reading, which is `stream` itself on a CPU. `progress` gets the bytes newly done, as they are in the
/// file, on the calling thread; what it throws ends the load.
RankWeights load_rank_weights(const Stream& stream, const Stream& host, const WeightSource& source,
                              std::span<const TensorUse> table, const ModelConfig& config, const RankShard& shard,
                              DType activations, const std::function<void(std::size_t)>& progress);

}  // namespace tandem
