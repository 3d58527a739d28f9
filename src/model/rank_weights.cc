#include "model/rank_weights.h"

namespace tandem {
namespace {

LoadedMatrix load_matrix(const Stream& stream, const WeightSource& source, const TensorEntry& entry,
                         std::int64_t expert, const TensorPart& part,
                         const std::function<void(std::size_t)>& progress) {
  LoadedMatrix loaded =
      source.load_matrix(stream, entry, {expert, part.rows.begin, part.rows.end, part.cols.begin, part.cols.end});
  if (loaded.storage.data() == nullptr) {
    touch(stream, loaded.matrix, progress);
  } else {
    progress(loaded.matrix.bytes());
  }
  return loaded;
}

}  // namespace

RankWeights load_rank_weights(const Stream& stream, const WeightSource& source, std::span<const TensorUse> table,
                              const ModelConfig& config, const RankShard& shard,
                              const std::function<void(std::size_t)>& progress) {
  RankWeights weights;
  weights.layers.resize(static_cast<std::size_t>(config.num_hidden_layers));
  for (const TensorUse& use : table) {
    SlotWeights& target = use.layer < 0 ? weights.model : weights.layers[static_cast<std::size_t>(use.layer)];
    const auto slot = static_cast<std::size_t>(use.slot);
    const TensorEntry& first = source.catalogue().at(use.tensor_name(0));
    const TensorPart part = tensor_part(use, config, shard, first.dtype);
    if (use.is_vector()) {
      target.vectors[slot] = source.load_vector(stream, first, part.rows.begin, part.rows.end);
      progress(target.vectors[slot].tensor.bytes());
    } else if (use.num_experts == 0) {
      target.matrices[slot] = load_matrix(stream, source, first, 0, part, progress);
      if (use.slot == Slot::kWo) target.attention_col_pad = part.col_pad;
    } else {
      for (std::int64_t expert = 0; expert < use.num_experts; ++expert) {
        const bool own_tensor = use.one_tensor_an_expert();
        const TensorEntry& entry = own_tensor ? source.catalogue().at(use.tensor_name(expert)) : first;
        // Experts may differ in dtype, and with it in where blocks begin.
        const TensorPart expert_part = tensor_part(use, config, shard, entry.dtype);
        target.experts[slot].push_back(
            load_matrix(stream, source, entry, own_tensor ? 0 : expert, expert_part, progress));
        target.expert_matrices[slot].push_back(target.experts[slot].back().matrix);
      }
    }
  }
  return weights;
}

}  // namespace tandem
