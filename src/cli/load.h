#pragma once
// Loading a model as the commands do it: settings to options, progress bar, Ctrl-C.

#include <cstdint>
#include <memory>
#include <string>

#include "cli/interrupt.h"
#include "cli/settings.h"
#include "model/open_model.h"
#include "tandem/model.h"

namespace tandem::cli {

/// p2p_buffer_size, 0 where it is not set. Throws kInvalidArgument, naming its origin, when it is too small for so many
/// ranks.
std::int64_t p2p_buffer_bytes(const Settings& settings, std::size_t world_size);

ModelOptions model_options(const std::string& model, const Settings& settings);

/// Loads what open_model() opened. Throws kCancelled when interrupted.
std::shared_ptr<Model> load_model(OpenedModel opened, ModelOptions options, const InterruptThread& interrupt);

}  // namespace tandem::cli
