#pragma once
// The subcommands, free of flag parsing. Each returns the exit status: 0 done or healthy, 1 done with findings; what
// could not be done is thrown.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/interrupt.h"
#include "cli/settings.h"

namespace tandem::cli {

struct RunOptions {
  std::string model;
  std::optional<std::string> prompt;  ///< absent: a chat on a terminal, else all of stdin
  std::string system;                 ///< system message
  bool raw = false;                   ///< no chat template
  int max_new_tokens = 0;             ///< 0: 512; at most what max_seq_len leaves
  std::optional<double> temperature;  ///< these: else generation_config.json, else greedy
  std::optional<int> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::uint64_t seed = 0;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  bool json = false;
};
int run_command(const RunOptions& options, const Settings& settings, InterruptThread& interrupt);

struct CheckOptions {
  std::string model;  ///< empty: the machine is checked
  int max_batch_size = 1;
  bool json = false;
  std::string snapshot_file;  ///< written; empty: none
  std::string replay_file;    ///< read in place of the machine; empty: none
};
int check_command(const CheckOptions& options, const Settings& settings);

struct BenchModelOptions {
  std::string model;
  int prompt = 512;   ///< tokens of the prefill
  int tokens = 64;    ///< decode steps a sample
  int context = 128;  ///< tokens in the cache before decode
  int batch = 1;
  int samples = 5;
  std::string json_file;  ///< "-": stdout; empty: none
};
int bench_model_command(const BenchModelOptions& options, const Settings& settings, InterruptThread& interrupt);

struct BenchCommOptions {
  std::vector<std::string> ops = {"all_reduce"};  ///< "all": all of them
  std::vector<std::string> backends;              ///< empty: all that work here
  std::string sizes = "1K:256M";                  ///< FROM:TO in steps of four, or a list
  std::string dtype = "bf16";
  bool eager = false;
  int calls = 50;
  int samples = 20;
  std::string json_file;  ///< "-": stdout; empty: none
  std::string plot_file;
};
int bench_comm_command(const BenchCommOptions& options, const Settings& settings, InterruptThread& interrupt);

struct TuneOptions {
  std::vector<std::string> ops = {"all"};
  std::string sizes = "1K:16M";  ///< FROM:TO in steps of four, or a list
  bool json = false;
  bool dry_run = false;  ///< nothing is stored
};
int tune_command(const TuneOptions& options, const Settings& settings, InterruptThread& interrupt);

struct DoctorOptions {
  std::string why_not;  ///< a back-end; empty: the findings are told
  bool fix_plan = false;
  bool no_probe = false;  ///< leave the links alone
  bool json = false;
  std::string from_file;      ///< read in place of the machine; empty: none
  std::string snapshot_file;  ///< written, redacted; empty: none
  std::optional<double> supply_watts;
};
int doctor_command(const DoctorOptions& options, const Settings& settings);

struct ExplainOptions {
  std::string code;
  bool list = false;      ///< every code
  bool markdown = false;  ///< docs/reference/findings.md
  bool json = false;
};
int explain_command(const ExplainOptions& options);

int config_show_command(bool json, const Settings& settings);

}  // namespace tandem::cli
