#pragma once
// Loading a model as the commands do it: settings to options, progress bar, Ctrl-C.

#include <memory>
#include <string>

#include "cli/interrupt.h"
#include "cli/settings.h"
#include "tandem/model.h"

namespace tandem::cli {

ModelOptions model_options(const std::string& model, const Settings& settings);

/// Throws kCancelled when interrupted. `seconds` gets the time it took.
std::shared_ptr<Model> load_model(ModelOptions options, const InterruptThread& interrupt, double& seconds);

}  // namespace tandem::cli
