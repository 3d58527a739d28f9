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

// As a shell takes it for one word that means itself.
std::string shell_word(std::string_view text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!text.empty() && text.find_first_not_of(kPlain) == text.npos) return std::string(text);
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

// What repeats the measurement elsewhere: every setting that is not the default, wherever it came from.
std::string command_line(const BenchModelOptions& options, const Settings& settings) {
  std::string variables;
  std::string flags;
  for (const SettingRow& row : setting_table()) {
    const SettingValue& value = settings.value(row.name);
    if (value.origin == "default") continue;
    if (const std::string flag = flag_of(row); flag.empty()) {
      variables += format("{}={} ", row.env, shell_word(value.text));
    } else {
      flags += format(" {} {}", flag, shell_word(value.text));
    }
  }
  return format("{}tandem bench model {} --prompt {} --tokens {} --context {} --batch {} --samples {}{}", variables,
                shell_word(options.model), options.prompt, options.tokens, options.context, options.batch,
                options.samples, flags);
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
