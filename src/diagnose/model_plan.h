#pragma once
// Before loading: who will hold what, and whether it fits.

#include <cstdint>
#include <string>
#include <vector>

#include "model/open_model.h"
#include "tandem/model.h"

namespace tandem {

struct RankPlan {
  Device device;
  RankShard shard;
  RankBytes weights;
  std::uint64_t cache_bytes = 0;
};

struct ModelPlan {
  std::string model;
  std::string architecture;
  std::int64_t max_seq_len = 0;
  int max_batch_size = 1;
  std::int64_t cache_tokens = 0;  ///< of one sequence: max_seq_len in whole pages
  std::vector<RankPlan> ranks;
  std::uint64_t needed_bytes = 0;     ///< weights and cache of all ranks
  std::uint64_t available_bytes = 0;  ///< of the machine's memory; 0: unknown
  bool fits() const { return available_bytes == 0 || needed_bytes <= available_bytes; }
};

/// Opens the model and plans it as Model::load would with these options; nothing is loaded. Throws what open_model
/// throws, and kInvalidArgument for devices, ranks, a batch and a length that cannot be; threads and back-end are not
/// looked at.
ModelPlan plan_model(const ModelOptions& options);

/// The plan as a table for people, one line a rank.
std::string format_plan(const ModelPlan& plan);
/// The same as JSON text.
std::string plan_json(const ModelPlan& plan);

}  // namespace tandem
