#pragma once
// From the name a user gives to a config, a tensor table and a source of weights. Nothing is loaded yet.

#include <memory>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/tensor_table.h"
#include "weights/weight_source.h"

namespace tandem {

struct OpenedModel {
  std::string name;  ///< as given
  ModelConfig config;
  GenerationDefaults generation;
  std::vector<TensorUse> table;
  std::unique_ptr<WeightSource> source;
  std::vector<float> rope_freq_factors;  ///< divide the rotary frequencies; of a GGUF file, or empty

  std::vector<RankShard> shard_plan(int world_size) const;
};

/// `model` is a folder, a .gguf file, dummy:NAME or dummy:PATH of a config.json. Throws Error naming what is wrong with
/// it: a hub id, a .bin checkpoint, an unknown architecture, tensors that do not fit the config.
OpenedModel open_model(const std::string& model);

}  // namespace tandem
