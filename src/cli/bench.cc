// `tandem bench model`.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/output.h"
#include "diagnose/bench_model.h"

namespace tandem::cli {
namespace {

std::string command_line(const BenchModelOptions& options, const Settings& settings) {
  std::string command =
      format("tandem bench model {} --prompt {} --tokens {} --context {} --batch {} --samples {}", options.model,
             options.prompt, options.tokens, options.context, options.batch, options.samples);
  for (const std::string_view name : {"tp", "threads", "devices"}) {
    if (settings.is_set(name)) command += format(" --{} {}", name, settings.string(name));
  }
  return command;
}

}  // namespace

int bench_model_command(const BenchModelOptions& options, const Settings& settings, InterruptThread& interrupt) {
  ModelOptions load = model_options(options.model, settings);
  load.max_batch_size = options.batch;
  const auto model = load_model(open_model(options.model), load, interrupt);
  const InterruptAction action(interrupt, [&] { model->abort("interrupted"); });
  const BenchModelParameters parameters{.prompt = options.prompt,
                                        .tokens = options.tokens,
                                        .context = options.context,
                                        .batch = options.batch,
                                        .samples = options.samples};
  const BenchModelResult result =
      bench_model(model, parameters, [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); });
  const std::string jsonl = bench_jsonl(*model, parameters, result, command_line(options, settings));
  if (options.json_file == "-") {
    write_stdout(jsonl);
    return 0;
  }
  write_stdout(format_bench(*model, parameters, result));
  if (!options.json_file.empty()) {
    std::ofstream file(options.json_file, std::ios::app);
    if (!(file << jsonl) || !file.flush()) {
      fail(ErrorKind::kUnreadable, "cannot write {}: {}", options.json_file, std::strerror(errno));
    }
  }
  return 0;
}

}  // namespace tandem::cli
