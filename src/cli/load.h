#pragma once
// Loading a model as the commands do it: settings to options, progress bar, Ctrl-C.

#include <memory>
#include <string>

#include "cli/interrupt.h"
#include "cli/settings.h"
#include "model/open_model.h"
#include "tandem/model.h"

namespace tandem::cli {

ModelOptions model_options(const std::string& model, const Settings& settings);

/// Loads what open_model() opened. Throws kCancelled when interrupted.
std::shared_ptr<Model> load_model(OpenedModel opened, ModelOptions options, const InterruptThread& interrupt);

}  // namespace tandem::cli
