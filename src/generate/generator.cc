// The public generator: a model's ranks, its cache and its tokenizer put behind a Scheduler.
#include "tandem/generator.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "generate/scheduler.h"
#include "model/model_runtime.h"

namespace tandem {

struct Generator::Impl {
  Impl(std::shared_ptr<Model> model_, std::shared_ptr<Cache> cache_, std::shared_ptr<const Tokenizer> tokenizer)
      : model(std::move(model_)),
        cache(std::move(cache_)),
        runner(make_step_runner(*model, *cache)),
        scheduler(*runner, cache->impl().pages, Cache::kPageSize, std::move(tokenizer)) {
    cache->impl().in_use = true;
  }
  ~Impl() { cache->impl().in_use = false; }

  std::shared_ptr<Model> model;
  std::shared_ptr<Cache> cache;
  std::unique_ptr<StepRunner> runner;
  Scheduler scheduler;
};

Generator::Generator(std::shared_ptr<Model> model, std::shared_ptr<Cache> cache,
                     std::shared_ptr<const Tokenizer> tokenizer) {
  if (!model || !cache || !tokenizer) {
    fail(ErrorKind::kInvalidArgument, "a generator needs a model, a cache and a tokenizer; one of them is null");
  }
  const ModelInfo& info = model->runtime().info();
  if (cache->impl().model != model) {
    fail(ErrorKind::kInvalidArgument, "the cache was made for another model than {}", info.name);
  }
  if (tokenizer->vocab_size() > info.vocab_size) {
    fail_with_hint(
        ErrorKind::kInvalidArgument,
        format("the tokenizer has {} ids, the model {} has {}", tokenizer->vocab_size(), info.name, info.vocab_size),
        "load the tokenizer from the model's own folder or file");
  }
  if (cache->impl().in_use) {
    fail_with_hint(ErrorKind::kInvalidArgument, "the cache belongs to another generator",
                   "destroy that generator first, or give each a cache of its own");
  }
  model->runtime().revive();
  impl_ = std::make_unique<Impl>(std::move(model), std::move(cache), std::move(tokenizer));
}

Generator::~Generator() = default;

int Generator::enqueue(Job job) {
  (void)impl_->model->runtime();  // throws after unload(), which leaves the step runner without ranks
  return impl_->scheduler.enqueue(std::move(job));
}

std::vector<Result> Generator::iterate() {
  if (num_remaining_jobs() > 0) (void)impl_->model->runtime();
  return impl_->scheduler.iterate();
}

std::vector<Result> Generator::run_to_completion() {
  std::vector<Result> last;
  while (num_remaining_jobs() > 0) {
    for (Result& result : iterate()) {
      if (result.eos) last.push_back(std::move(result));
    }
  }
  std::ranges::sort(last, {}, &Result::serial);
  return last;
}

int Generator::num_remaining_jobs() const {
  return impl_->scheduler.num_remaining_jobs();
}

void Generator::cancel(int serial) {
  impl_->scheduler.cancel(serial);
}

void Generator::close() {
  impl_->scheduler.close();
}

}  // namespace tandem
