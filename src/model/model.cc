// The public face of a loaded model and its cache.
#include "tandem/model.h"

#include <limits>

#include "base/error.h"
#include "model/model_runtime.h"

namespace tandem {
namespace {

class CachedSteps : public StepRunner {
 public:
  CachedSteps(ModelRuntime& runtime, Cache::Impl& cache) : runtime_(runtime), cache_(cache) {}
  std::int64_t vocab_size() const override { return runtime_.info().vocab_size; }
  std::int64_t max_seq_len() const override { return runtime_.info().max_seq_len; }
  int max_batch_size() const override { return runtime_.info().max_batch_size; }
  std::int64_t max_step_tokens() const override { return runtime_.max_step_tokens(); }
  ConstTensor step(std::span<const SequenceStep> sequences) override { return runtime_.step(cache_.ranks, sequences); }

 private:
  ModelRuntime& runtime_;
  Cache::Impl& cache_;
};

}  // namespace

std::shared_ptr<Model> Model::load(const ModelOptions& options) {
  return std::make_shared<Model>(std::make_unique<ModelRuntime>(open_model(options.model_dir), options));
}

Model::Model(std::unique_ptr<ModelRuntime> runtime) : runtime_(std::move(runtime)), info_(runtime_->info()) {}
Model::~Model() = default;

const ModelInfo& Model::info() const {
  return info_;
}
void Model::unload() {
  const std::lock_guard lock(runtime_mutex_);
  runtime_.reset();
}

void Model::abort(const std::string& reason) {
  const std::lock_guard lock(runtime_mutex_);
  if (runtime_) runtime_->team().abort(reason);
}

ModelRuntime& Model::runtime() const {
  if (!runtime_) fail(ErrorKind::kInvalidArgument, "the model {} was unloaded", info_.name);
  return *runtime_;
}

Cache::Cache(std::shared_ptr<Model> model, std::int64_t max_num_tokens) {
  ModelRuntime& runtime = model->runtime();
  runtime.revive();
  if (max_num_tokens < 0) fail(ErrorKind::kInvalidArgument, "a cache of {} tokens", max_num_tokens);
  if (max_num_tokens == 0) {
    // Whole pages for each sequence, so that every one of them can reach max_seq_len.
    const std::int64_t pages_each = (runtime.info().max_seq_len + kPageSize - 1) / kPageSize;
    max_num_tokens = pages_each * kPageSize * runtime.info().max_batch_size;
  }
  const std::int64_t num_pages = max_num_tokens / kPageSize + (max_num_tokens % kPageSize != 0);
  // A token's place, page * kPageSize + place in the page, is an int32 in every kernel.
  if (num_pages > std::numeric_limits<std::int32_t>::max() / kPageSize) {
    fail_with_hint(ErrorKind::kInvalidArgument,
                   format("a cache of {} tokens; fewer than 2^31 are possible", max_num_tokens),
                   "shorter or fewer sequences (max_seq_len, max_batch_size) need less");
  }
  auto ranks = runtime.make_caches(num_pages, kPageSize);
  impl_ = std::make_unique<Impl>(Impl{std::move(model), std::move(ranks), PageAllocator(num_pages)});
}

Cache::~Cache() = default;

std::int64_t Cache::max_num_tokens() const {
  return impl_->pages.num_pages() * kPageSize;
}

std::uint64_t Cache::bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& rank : impl_->ranks) bytes += rank->bytes();
  return bytes;
}

std::unique_ptr<StepRunner> make_step_runner(Model& model, Cache& cache) {
  return std::make_unique<CachedSteps>(model.runtime(), cache.impl());
}

}  // namespace tandem
