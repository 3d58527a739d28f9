#pragma once
// A loaded model: the team of ranks, each with its weights, and the step they run together.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cache/kv_cache.h"
#include "cache/page_allocator.h"
#include "comm/rank_team.h"
#include "device/cuda/runtime.h"
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
  /// A step that is recorded once and replayed: of decoding a number of sequences over a cache. No addresses: all ranks
  /// must come to the same, and memory may be another's by the next step.
  struct Replay {
    std::int64_t num_sequences;
    std::int64_t max_pages;
    std::uint64_t cache;
    bool operator==(const Replay&) const = default;
  };
  /// What belongs to one rank's thread.
  struct Rank {
    std::unique_ptr<RankForward> forward;
    StepInputs inputs;
    std::vector<std::pair<Replay, std::optional<cuda::Graph>>> graphs;  ///< without one: has run once
  };
  void load(const ModelOptions& options);
  /// Throws kOutOfMemory when a GPU has no room for its rank's weights.
  void check_memory(Device device, std::size_t rank) const;
  StepBatch make_batch(std::span<const SequenceStep> sequences, std::int64_t page_size) const;
  void run_rank(RankContext& context, KvCache& cache, const StepBatch& batch, bool decodes);
  /// Queues `forward` as it is, the second time recorded, from then on as what was recorded.
  void replay(Rank& rank, const RankContext& context, const Replay& key, const std::function<void()>& forward);
  /// Queues the way of this rank's columns of some rows of logits to rank 0's host.
  void queue_logits(RankContext& context, const Tensor& part);
  /// Those rows, once they are there, from `first_row` of the result on.
  void place_logits(std::int64_t first_row, std::int64_t rows);

  OpenedModel opened_;
  ModelInfo info_;
  std::vector<RankShard> plan_;
  std::vector<Device> devices_;
  DType activations_ = DType::kF32;
  std::int64_t max_step_tokens_ = 0;
  std::int64_t max_logits_ = 0;  // rows at a time
  std::uint64_t num_caches_made_ = 0;
  std::unique_ptr<RankTeam> team_;
  std::vector<Rank> ranks_;
  Buffer gathered_;            // on rank 0's device: [rows, share of rank 0], [rows, share of rank 1], ...
  cuda::PinnedBuffer pinned_;  // the same on the host, if that is a GPU
  Buffer logits_;              // [rows, vocab_size]
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
