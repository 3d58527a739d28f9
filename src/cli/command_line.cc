// Flags. The one file that includes CLI11.
#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/suggest.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/settings.h"
#include "cli/trace_file.h"
#include "comm/nccl/nccl_library.h"
#include "comm/trust/profile.h"
#include "tandem/version.h"

namespace tandem::cli {
namespace {

const char* get_env(const char* name) {
  return std::getenv(name);
}

// Adds the flags of some settings to a command; what is given ends up in `flags`.
void add_settings(CLI::App& command, std::map<std::string, std::string>& flags,
                  std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    for (const SettingRow& row : setting_table()) {
      if (row.name != name) continue;
      command
          .add_option_function<std::string>(
              flag_of(row), [&flags, name](const std::string& text) { flags[std::string(name)] = text; },
              format("{} [{}]", row.help, row.env))
          ->type_name(row.type == SettingType::kString ? "TEXT" : "N")
          ->group("Settings");
    }
  }
}

constexpr std::string_view kModelHelp = "folder with config.json and .safetensors, .gguf file, or dummy:NAME";

struct CommandLine {
  CLI::App app{"Tandem runs one large language model across the devices of a box.", "tandem"};
  std::map<std::string, std::string> flags;
  RunOptions run;
  CheckOptions check;
  BenchModelOptions bench;
  BenchCommOptions bench_comm;
  TuneOptions tune;
  DoctorOptions doctor;
  ExplainOptions explain;
  bool config_json = false;
  CLI::App* run_command = nullptr;
  CLI::App* check_command = nullptr;
  CLI::App* bench_model_command = nullptr;
  CLI::App* bench_comm_command = nullptr;
  CLI::App* tune_command = nullptr;
  CLI::App* doctor_command = nullptr;
  CLI::App* explain_command = nullptr;
  CLI::App* config_show_command = nullptr;

  CommandLine() {
    app.set_version_flag("--version", format("{} ({})", version(), commit()));
    app.require_subcommand(1);
    app.footer("Exit status: 0 done, 1 done with findings, 2 could not, 130 interrupted.");
    add_run();
    add_check();
    add_bench();
    add_tune();
    add_doctor();
    add_explain();
    add_config();
  }

  void add_run() {
    CLI::App& command =
        *(run_command = app.add_subcommand("run", "generate an answer; without -p on a terminal, chat"));
    command.add_option("MODEL", run.model, std::string(kModelHelp))->required();
    command.add_option("-p,--prompt", run.prompt, "what to answer; absent: chat on a terminal, else all of stdin");
    command.add_option("--system", run.system, "system message");
    command.add_flag("--raw", run.raw, "no chat template: continue the prompt as it is");
    command.add_option("-n,--max-new-tokens", run.max_new_tokens, "tokens of an answer, at most (512)")
        ->check(CLI::Range(1, 1 << 30));
    command.add_option("--temperature", run.temperature, "0: the likeliest token each time")
        ->check(CLI::Range(0.0, 100.0));
    command.add_option("--top-k", run.top_k, "sample from the K likeliest; 0: all")->check(CLI::Range(0, 1 << 30));
    command.add_option("--top-p", run.top_p, "sample from the likeliest that make up P")->check(CLI::Range(0.0, 1.0));
    command.add_option("--min-p", run.min_p, "and that are at least P times as likely as the likeliest")
        ->check(CLI::Range(0.0, 1.0));
    command.add_option("--repetition-penalty", run.repetition_penalty, "above 1: avoid tokens that occurred")
        ->check(CLI::Range(1e-3, 1e3));
    // CLI11 would wrap a negative number around.
    command.add_option("--seed", run.seed, "of sampling (0)")->check(CLI::NonNegativeNumber);
    command.add_option("--stop", run.stop, "text that ends the answer; may be repeated")
        ->type_size(1)
        ->allow_extra_args(false);
    command.add_flag("--ignore-eos", run.ignore_eos, "go on past the model's end of text");
    command.add_flag("--json", run.json, "print a report instead of the text");
    add_settings(command, flags,
                 {"tp", "tp_backend", "devices", "threads", "max_seq_len", "timeout", "p2p_buffer_size", "profile_dir",
                  "log_level", "trace"});
  }

  void add_check() {
    CLI::App& command =
        *(check_command = app.add_subcommand("check",
                                             "whether the devices can communicate, and by which back-ends; "
                                             "with MODEL: how it is split over ranks, and whether it fits"));
    CLI::Option* model = command.add_option("MODEL", check.model, std::string(kModelHelp));
    command.add_option("--max-batch-size", check.max_batch_size, "sequences that MODEL's cache has room for (1)")
        ->needs(model);
    command.add_flag("--json", check.json, "print JSON");
    CLI::Option* replay =
        command.add_option("--replay", check.replay_file, "decide for the machine of a snapshot, not for this one");
    command.add_option("--snapshot", check.snapshot_file, "write what is known of this machine to FILE")
        ->excludes(replay);
    add_settings(command, flags, {"tp", "tp_backend", "devices", "max_seq_len", "timeout", "profile_dir", "log_level"});
  }

  void add_bench() {
    CLI::App& group = *app.add_subcommand("bench", "measure")->require_subcommand(1);
    CLI::App& command = *(bench_model_command = group.add_subcommand("model", "decode and prefill speed of a model"));
    command.add_option("MODEL", bench.model, std::string(kModelHelp))->required();
    command.add_option("--prompt", bench.prompt, "tokens of a prefill (512)")->check(CLI::Range(1, 1 << 20));
    command.add_option("--tokens", bench.tokens, "decode steps a sample (64)")->check(CLI::Range(1, 1 << 20));
    command.add_option("--context", bench.context, "tokens in the cache before decode (128)")
        ->check(CLI::Range(1, 1 << 20));
    command.add_option("--batch", bench.batch, "sequences decoded together (1)")->check(CLI::Range(1, 1024));
    command.add_option("--samples", bench.samples, "repeats of each measurement (5)")->check(CLI::Range(1, 1000));
    command.add_option("--json", bench.json_file, "append the result to FILE as lines of JSON; -: stdout");
    add_settings(command, flags,
                 {"tp", "tp_backend", "devices", "threads", "max_seq_len", "timeout", "p2p_buffer_size", "profile_dir",
                  "log_level", "trace"});
    add_bench_comm(group);
  }

  void add_bench_comm(CLI::App& group) {
    CLI::App& command =
        *(bench_comm_command = group.add_subcommand("comm", "time of collectives, back-ends side by side"));
    command
        .add_option("--op", bench_comm.ops,
                    "all_reduce (default), all_gather, reduce_scatter, broadcast, gather, all_reduce_norm; all")
        ->delimiter(',');
    command.add_option("--backends", bench_comm.backends, "p2p, nccl, native, cpu; absent: all that work here")
        ->delimiter(',');
    command.add_option("--sizes", bench_comm.sizes,
                       "of the whole tensor: FROM:TO in steps of four (1K:256M), or a list");
    command.add_option("--dtype", bench_comm.dtype, "bf16 (default), f16, f32 or i32");
    command.add_flag("--eager,!--graph", bench_comm.eager, "queue calls one by one, not from a CUDA graph");
    command.add_option("--calls", bench_comm.calls, "of a sample (50)")->check(CLI::Range(1, 100000));
    command.add_option("--samples", bench_comm.samples, "repeats of each measurement (20)")
        ->check(CLI::Range(1, 100000));
    command.add_option("--json", bench_comm.json_file, "append the result to FILE as lines of JSON; -: stdout");
    command.add_option("--plot", bench_comm.plot_file, "picture of latency against size, an SVG (needs gnuplot)");
    add_settings(command, flags,
                 {"tp", "tp_backend", "devices", "timeout", "p2p_buffer_size", "profile_dir", "log_level", "trace"});
  }

  void add_tune() {
    CLI::App& command = *(tune_command = app.add_subcommand(
                              "tune", "measure how these GPUs communicate fastest, and store it as their profile"));
    command.add_option("--ops", tune.ops, "all_reduce, all_gather, reduce_scatter, broadcast, gather; all (default)")
        ->delimiter(',');
    command.add_option("--sizes", tune.sizes, "of the whole tensor: FROM:TO in steps of four (1K:16M), or a list");
    command.add_flag("--json", tune.json, "print JSON");
    command.add_flag("--dry-run", tune.dry_run, "measure and show, store nothing");
    add_settings(command, flags, {"tp", "devices", "timeout", "p2p_buffer_size", "profile_dir", "log_level"});
  }

  void add_doctor() {
    CLI::App& command =
        *(doctor_command = app.add_subcommand("doctor", "what is wrong with this machine, why, and what mends it"));
    command.add_option("--why-not", doctor.why_not, "why that back-end is not used: p2p, nccl or native")
        ->check(CLI::IsMember({"p2p", "nccl", "native"}));
    command.add_flag("--fix-plan", doctor.fix_plan, "the remedies as a list of commands; none of them is run");
    CLI::Option* from =
        command.add_option("--from", doctor.from_file, "look at the machine of a snapshot, not at this one");
    command.add_option("--snapshot", doctor.snapshot_file, "write what is known of this machine, redacted, to FILE")
        ->excludes(from);
    command.add_flag("--no-probe", doctor.no_probe, "leave the GPUs' links alone: faster, and knows less")
        ->excludes(from);
    command.add_option("--supply-watts", doctor.supply_watts, "what the power supply gives")
        ->check(CLI::Range(1.0, 1e6));
    command.add_flag("--json", doctor.json, "print JSON");
    add_settings(command, flags, {"devices", "timeout", "log_level"});
  }

  void add_explain() {
    CLI::App& command =
        *(explain_command = app.add_subcommand("explain", "what a code of a finding, a reason or an error means"));
    CLI::Option* code = command.add_option("CODE", explain.code, "as printed in brackets: iommu-translated, bad-file");
    CLI::Option* list = command.add_flag("--list", explain.list, "every code, a line each")->excludes(code);
    command.add_flag("--markdown", explain.markdown, "all of it, as docs/reference/findings.md has it")
        ->excludes(code)
        ->excludes(list);
    command.add_flag("--json", explain.json, "print JSON");
  }

  void add_config() {
    CLI::App& group = *app.add_subcommand("config", "settings")->require_subcommand(1);
    CLI::App& command = *(config_show_command = group.add_subcommand("show", "every setting, its value and origin"));
    command.add_flag("--json", config_json, "print JSON");
    add_settings(command, flags,
                 {"tp", "tp_backend", "devices", "threads", "max_seq_len", "timeout", "p2p_buffer_size", "profile_dir",
                  "log_level"});
  }

  bool wants_json() const { return run.json || check.json || tune.json || explain.json || doctor.json || config_json; }
};

// The word of the command line that CLI11 did not know, and what it may have been meant to be.
std::string suggestion(CLI::App& app, int argc, char** argv) {
  CLI::App* command = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    std::vector<std::string> names;
    if (word.starts_with("--")) {
      const std::string flag = word.substr(0, word.find('='));
      for (const CLI::Option* option : command->get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
      }
      if (std::find(names.begin(), names.end(), flag) == names.end()) {
        return suggest(flag, std::vector<std::string_view>(names.begin(), names.end()));
      }
      continue;
    }
    if (command->get_require_subcommand_min() == 0 || word.starts_with("-")) continue;
    CLI::App* next = nullptr;
    for (CLI::App* known : command->get_subcommands([](CLI::App*) { return true; })) {
      names.push_back(known->get_name());
      if (known->get_name() == word) next = known;
    }
    if (next == nullptr) return suggest(word, std::vector<std::string_view>(names.begin(), names.end()));
    command = next;
  }
  return "";
}

int dispatch(CommandLine& line, InterruptThread& interrupt) {
  const Settings settings(line.flags, get_env, settings_file(get_env));
  apply_log_settings(settings);
  use_nccl_library(settings.string("nccl_library"));
  use_profiles(profile_folder_of(settings, get_env));
  if (line.check_command->parsed()) return check_command(line.check, settings);
  if (line.tune_command->parsed()) return tune_command(line.tune, settings, interrupt);
  if (line.doctor_command->parsed()) return doctor_command(line.doctor, settings);
  if (line.explain_command->parsed()) return explain_command(line.explain);
  if (line.config_show_command->parsed()) return config_show_command(line.config_json, settings);
  return run_traced(settings.string("trace"), interrupt, [&] {
    if (line.run_command->parsed()) return run_command(line.run, settings, interrupt);
    if (line.bench_model_command->parsed()) return bench_model_command(line.bench, settings, interrupt);
    return bench_comm_command(line.bench_comm, settings, interrupt);
  });
}

int report_error(const Error& error, bool json) {
  print_recent_log(error.kind());
  if (json) {
    const Json report = {
        {"error", {{"kind", to_string(error.kind())}, {"message", error.what()}, {"hint", error.hint()}}}};
    // In ASCII: the message quotes files of others, and stdout may be a terminal.
    std::printf("%s\n", json_ascii(report, 2).c_str());
  }
  print_error(error);
  return exit_status(error.kind());
}

}  // namespace

int main_with(int argc, char** argv) {
  CommandLine line;
  try {
    line.app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    std::ostringstream text;
    const int status = line.app.exit(success, text, text);
    try {
      write_stdout(text.str());
    } catch (const Error& error) {
      print_error(error);
      return exit_status(error.kind());
    }
    return status;
  } catch (const CLI::ParseError& error) {
    std::string hint = suggestion(line.app, argc, argv);
    if (hint.empty()) hint = "tandem --help, or tandem COMMAND --help, shows what there is";
    // Of `bench` it names a file.
    const bool json =
        std::find(argv, argv + argc, std::string_view("--json")) != argv + argc && std::string_view(argv[1]) != "bench";
    return report_error(Error(ErrorKind::kInvalidArgument, error.what(), hint), json);
  }
  InterruptThread interrupt;
  try {
    return dispatch(line, interrupt);
  } catch (const Error& error) {
    return report_error(error, line.wants_json());
  } catch (const std::bad_alloc&) {
    return report_error(Error(ErrorKind::kOutOfMemory, "the machine's memory does not suffice",
                              "tandem check MODEL tells what is needed; a smaller --max-seq-len needs less"),
                        line.wants_json());
  } catch (const std::exception& error) {
    return report_error(Error(ErrorKind::kInternal, error.what(), "this is a mistake in Tandem; please report it"),
                        line.wants_json());
  }
}

}  // namespace tandem::cli
