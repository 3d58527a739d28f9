#include "cli/load.h"

#include "base/error.h"
#include "cli/console.h"
#include "comm/device_list.h"
#include "comm/push/push_plan.h"
#include "model/model_runtime.h"

namespace tandem::cli {

std::int64_t p2p_buffer_bytes(const Settings& settings, std::size_t world_size) {
  const std::int64_t bytes = settings.integer("p2p_buffer_size");
  const std::string name = format("{}: p2p_buffer_size", settings.value("p2p_buffer_size").origin);
  if (bytes > 0) check_inbox_bytes(name, bytes, static_cast<int>(world_size));
  return bytes;
}

ModelOptions model_options(const std::string& model, const Settings& settings) {
  ModelOptions options{.model_dir = model,
                       .tp_backend = settings.string("tp_backend"),
                       .devices = settings.list("devices"),
                       .tp_size = settings.bounded("tp", kMaxWorldSize),
                       .max_seq_len = settings.integer("max_seq_len"),
                       .threads = settings.bounded("threads", kMaxThreads),
                       .timeout_s = settings.number("timeout")};
  options.shbuf_size = p2p_buffer_bytes(settings, parse_devices(options.devices, options.tp_size).size());
  return options;
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
