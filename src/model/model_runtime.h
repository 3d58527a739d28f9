#pragma once
// A loaded model: the team of ranks, each with its weights, and the step they run together.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cache/kv_cache.h"
#include "cache/page_allocator.h"
#include "comm/rank_team.h"
#include "model/open_model.h"
#include "model/rank_forward.h"
#include "model/step.h"
#include "tandem/model.h"

namespace tandem {

/// max_seq_len as asked for, or the model's own limit up to 4096. Throws kInvalidArgument when the model was made for
/// less than was asked for.
std::int64_t choose_max_seq_len(const OpenedModel& opened, std::int64_t asked);

/// Of all ranks together. No box has as many cores; past it a number is a slip of the hand.
inline constexpr int kMaxThreads = 4096;

/// The devices of a model's ranks: see parse_devices. Throws kUnsupported for GPUs: models run on CPUs only today.
std::vector<Device> parse_model_devices(const ModelOptions& options);

class ModelRuntime {
 public:
  ModelRuntime(OpenedModel opened, const ModelOptions& options);
  ~ModelRuntime();

  const ModelInfo& info() const { return info_; }
  const ModelConfig& config() const { return opened_.config; }
  const OpenedModel& opened() const { return opened_; }
  int world_size() const { return static_cast<int>(plan_.size()); }
  std::int64_t max_step_tokens() const { return max_step_tokens_; }
  RankTeam& team() { return *team_; }
  /// Lets ranks that an error or an abort has stopped work again. Between steps.
  void revive();

  /// One empty KV cache a rank.
  std::vector<std::unique_ptr<KvCache>> make_caches(std::int64_t num_pages, std::int64_t page_size);
  /// See StepRunner::step; caches[r] is rank r's.
  ConstTensor step(std::span<const std::unique_ptr<KvCache>> caches, std::span<const SequenceStep> sequences);

 private:
  void load(const ModelOptions& options);
  StepBatch make_batch(std::span<const SequenceStep> sequences, std::int64_t page_size) const;

  OpenedModel opened_;
  ModelInfo info_;
  std::vector<RankShard> plan_;
  std::int64_t max_step_tokens_ = 0;
  std::unique_ptr<RankTeam> team_;
  std::vector<std::unique_ptr<RankForward>> ranks_;
  Buffer gathered_;  // [rows, share of rank 0], [rows, share of rank 1], ...
  Buffer logits_;    // [rows, vocab_size]
};

struct Cache::Impl {
  std::shared_ptr<Model> model;
  std::vector<std::unique_ptr<KvCache>> ranks;
  PageAllocator pages;
  bool in_use = false;  ///< by a generator
};

/// Steps of `model` over `cache`, which outlive it.
std::unique_ptr<StepRunner> make_step_runner(Model& model, Cache& cache);

}  // namespace tandem
