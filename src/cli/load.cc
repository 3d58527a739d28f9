#include "cli/load.h"

#include "base/error.h"
#include "cli/console.h"
#include "model/model_runtime.h"

namespace tandem::cli {

ModelOptions model_options(const std::string& model, const Settings& settings) {
  return {.model_dir = model,
          .tp_backend = settings.string("tp_backend"),
          .devices = settings.list("devices"),
          .tp_size = settings.bounded("tp", kMaxWorldSize),
          .max_seq_len = settings.integer("max_seq_len"),
          .shbuf_size = settings.integer("p2p_buffer_size"),
          .threads = settings.bounded("threads", kMaxThreads),
          .timeout_s = settings.number("timeout")};
}

std::shared_ptr<Model> load_model(OpenedModel opened, ModelOptions options, const InterruptThread& interrupt) {
  ProgressBar bar("loading");
  options.on_progress = [&](const LoadProgress& progress) {
    if (interrupt.interrupted()) fail(ErrorKind::kCancelled, "interrupted while loading");
    bar.update(progress);
  };
  return std::make_shared<Model>(std::make_unique<ModelRuntime>(std::move(opened), options));
}

}  // namespace tandem::cli
