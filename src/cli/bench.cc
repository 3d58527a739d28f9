// `tandem bench model` and `tandem bench comm`.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/sizes.h"
#include "comm/device_list.h"
#include "device/cuda/runtime.h"
#include "diagnose/bench_comm.h"
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

// What repeats a measurement elsewhere: `command` and every setting that is not the default, wherever it came from.
std::string with_settings(const std::string& command, const Settings& settings) {
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
  return variables + command + flags;
}

void append_to(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::app);
  if (!(file << text) || !file.flush()) {
    fail(ErrorKind::kUnreadable, "cannot write {}: {}", path, std::strerror(errno));
  }
}

std::string comma_separated(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

// All GPUs where there are several, else CPU ranks.
std::vector<Device> bench_devices(const Settings& settings) {
  const std::vector<std::string> names = settings.list("devices");
  const auto ranks = static_cast<int>(settings.integer("tp"));
  if (!names.empty()) return parse_devices(names, ranks);
  if constexpr (kBuiltWithCuda) {
    if (const int gpus = cuda::num_devices(); gpus >= 2 && ranks <= gpus) {
      std::vector<Device> devices;
      for (int i = 0; i < (ranks > 0 ? ranks : std::min(gpus, kMaxWorldSize)); ++i) {
        devices.push_back({DeviceKind::kCuda, i});
      }
      return devices;
    }
  }
  return parse_devices(names, ranks > 0 ? ranks : 2);
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
  const std::string command = format(
      "tandem bench model {} --prompt {} --tokens {} --context {} --batch {} --samples {}", shell_word(options.model),
      options.prompt, options.tokens, options.context, options.batch, options.samples);
  const std::string jsonl = bench_jsonl(*model, parameters, result, with_settings(command, settings));
  if (options.json_file == "-") {
    write_stdout(jsonl);
    return 0;
  }
  write_stdout(format_bench(*model, parameters, result));
  if (!options.json_file.empty()) append_to(options.json_file, jsonl);
  return 0;
}

int bench_comm_command(const BenchCommOptions& options, const Settings& settings, InterruptThread& interrupt) {
  BenchCommParameters parameters;
  parameters.devices = bench_devices(settings);
  parameters.backends = options.backends;
  if (const std::string forced = settings.string("tp_backend"); parameters.backends.empty() && forced != "auto") {
    parameters.backends = {forced};
  }
  parameters.ops = options.ops == std::vector<std::string>{"all"} ? bench_comm_ops() : options.ops;
  parameters.sizes = parse_sizes(options.sizes);
  const std::optional<DType> dtype = parse_dtype(options.dtype);
  if (!dtype || is_quantised(*dtype) || *dtype == DType::kU8) {
    fail_with_hint(ErrorKind::kInvalidArgument, format("no sums of \"{}\"", options.dtype),
                   "use bf16, f16, f32 or i32");
  }
  parameters.dtype = *dtype;
  const std::int64_t smallest = *std::min_element(parameters.sizes.begin(), parameters.sizes.end());
  if (const auto needed = static_cast<std::int64_t>(dtype_bytes(*dtype, 1) * parameters.devices.size());
      smallest < needed) {
    fail_with_hint(
        ErrorKind::kInvalidArgument,
        format("{} bytes have no {} for each of {} ranks", smallest, options.dtype, parameters.devices.size()),
        format("use sizes of {} and more", needed));
  }
  parameters.graph = !options.eager;
  parameters.calls = options.calls;
  parameters.samples = options.samples;
  parameters.timeout_s = settings.number("timeout");
  parameters.inbox_bytes = p2p_buffer_bytes(settings, parameters.devices.size());
  const auto world_size = static_cast<int>(parameters.devices.size());
  const std::string command =
      with_settings(format("tandem bench comm --op {} --sizes {} --dtype {} --calls {} --samples {}{}{}",
                           comma_separated(options.ops), options.sizes, options.dtype, options.calls, options.samples,
                           options.backends.empty() ? "" : " --backends " + comma_separated(options.backends),
                           options.eager ? " --eager" : ""),
                    settings);

  const bool to_stdout = options.json_file == "-";
  if (!to_stdout) write_stdout(format_bench_comm(nullptr, world_size));
  bool all_well = true;
  const std::vector<BenchCommRow> rows = bench_comm(parameters, [&](const BenchCommRow& row) {
    if (interrupt.interrupted()) throw Error(ErrorKind::kCancelled, "interrupted");
    all_well = all_well && row.error.empty();
    const std::string json = bench_comm_json(parameters, row, command);
    write_stdout(to_stdout ? json : format_bench_comm(&row, world_size));
    if (!to_stdout && !options.json_file.empty()) append_to(options.json_file, json);
  });
  if (!options.plot_file.empty()) {
    const std::string script = bench_comm_plot(parameters, rows, options.plot_file);
    std::FILE* gnuplot = ::popen("gnuplot", "w");
    const bool written = gnuplot != nullptr && std::fwrite(script.data(), 1, script.size(), gnuplot) == script.size();
    if (gnuplot == nullptr || ::pclose(gnuplot) != 0 || !written) {
      fail_with_hint(ErrorKind::kUnreadable, format("gnuplot could not write {}", options.plot_file),
                     "install gnuplot (the Debian package gnuplot-nox), and give --plot a file that can be written");
    }
  }
  return all_well ? 0 : 1;
}

}  // namespace tandem::cli
