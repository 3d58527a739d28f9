#pragma once
// The architecture's table worked out for one model: every tensor with its name in the file, its shape, and who holds
// which part. Loader, shard plan, dummy weights and `tandem check` all read it.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "device/tensor.h"
#include "model/arch.h"
#include "model/config.h"
#include "weights/shard_plan.h"
#include "weights/weight_source.h"

namespace tandem {

enum class WeightFormat { kSafetensors, kGguf };

/// One slot of the forward pass and where its values lie. Fused tensors serve several slots; the experts of a slot are
/// one tensor a piece or one tensor of three dimensions.
struct TensorUse {
  Slot slot;
  int layer = -1;    ///< -1: once a model
  std::string name;  ///< in the file; with "{e}" where each expert has its own tensor
  Shape shape;       ///< of the whole tensor in the file
  Shard shard = Shard::kReplicated;
  std::int64_t first_row = 0;    ///< where the slot begins in a fused tensor
  std::int64_t num_rows = 0;     ///< of the slot (a vector: its length), before sharding
  std::int64_t num_experts = 0;  ///< 0: no expert tensor

  bool is_vector() const { return shape.num_dims() == 1; }
  bool one_tensor_an_expert() const { return num_experts > 0 && shape.num_dims() == 2; }
  std::string tensor_name(std::int64_t expert) const;
};

std::vector<TensorUse> tensor_table(const ModelConfig& config, WeightFormat format);

/// Throws kBadFile for a tensor that is missing or has another shape, and kUnsupported for one that the table does not
/// know: a model with more tensors than we use is not the model we compute.
void check_tensors(std::span<const TensorUse> table, const TensorCatalogue& catalogue);

/// The extents to split; units follow the blocks of the down projections in `catalogue`.
ShardDims shard_dims(const ModelConfig& config, std::span<const TensorUse> table, const TensorCatalogue& catalogue);

/// The part of a tensor that a rank holds, in rows and columns of the tensor in the file. Column ranges are widened to
/// whole blocks of `dtype`: a block that straddles two ranks is held by both.
struct TensorPart {
  ShardRange rows;
  ShardRange cols;           ///< of a matrix
  std::int64_t col_pad = 0;  ///< foreign columns before the rank's own
};
TensorPart tensor_part(const TensorUse& use, const ModelConfig& config, const RankShard& shard, DType dtype);

/// Bytes of weights on one rank.
struct RankBytes {
  std::uint64_t embedding = 0;  ///< and output
  std::uint64_t attention = 0;
  std::uint64_t mlp = 0;    ///< dense and experts
  std::uint64_t other = 0;  ///< norms, biases, router
  std::uint64_t total() const { return embedding + attention + mlp + other; }
};
RankBytes rank_bytes(std::span<const TensorUse> table, const ModelConfig& config, const TensorCatalogue& catalogue,
                     const RankShard& shard);

/// The tensors of the table for open_dummy(), all bf16.
std::vector<DummyTensor> dummy_tensors(std::span<const TensorUse> table, const ModelConfig& config);

}  // namespace tandem
