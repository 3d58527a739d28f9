// `tandem check MODEL`: how a model would be split, and whether it fits.
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/output.h"
#include "diagnose/model_plan.h"

namespace tandem::cli {

int check_command(const CheckOptions& options, const Settings& settings) {
  const ModelPlan plan = plan_model(model_options(options.model, settings));
  const std::string text = options.json ? plan_json(plan) + "\n" : format_plan(plan);
  write_stdout(text);
  return plan.fits() ? 0 : 1;
}

}  // namespace tandem::cli
