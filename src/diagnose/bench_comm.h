#pragma once
// Time of collectives, of several back-ends side by side, each checked first.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "diagnose/samples.h"

namespace tandem {

struct BenchCommParameters {
  std::vector<Device> devices;                    ///< by rank, all CPUs or all GPUs
  std::vector<std::string> backends;              ///< empty: all that can serve these devices
  std::vector<std::string> ops = {"all_reduce"};  ///< of bench_comm_ops()
  std::vector<std::int64_t> sizes;                ///< bytes; as nccl-tests counts them: of the whole tensor
  DType dtype = DType::kBF16;
  bool graph = true;  ///< GPUs: calls are replayed from a graph, as in a decode step, and not queued one by one
  int calls = 50;     ///< of a sample; fewer where they would take long
  int samples = 20;
  double timeout_s = 10;
  std::int64_t inbox_bytes = 0;  ///< see GroupOptions
};

struct BenchCommRow {
  std::string op, backend;
  std::int64_t bytes = 0;
  int calls = 0;         ///< of a sample
  Samples microseconds;  ///< a call, of the slowest rank; a sample each
  double bound_us = 0;   ///< measured beside it: of native, copies to host memory and back; 0: not measured
  std::string error;  ///< why it was not measured, or what the check found; empty: measured, checked before and after
  double algorithm_bandwidth() const;          ///< bytes/s of the tensor
  double share_of_bound() const;               ///< 0: not measured
  double bus_bandwidth(int world_size) const;  ///< bytes/s that a rank sends at least, so comparable among world sizes
};

/// The names of operations that can be measured.
const std::vector<std::string>& bench_comm_ops();

/// `row_done` gets each row as it is measured. Throws kInvalidArgument for a name it does not know. A back-end that
/// fails is a row with an error, and not measured further.
std::vector<BenchCommRow> bench_comm(const BenchCommParameters& parameters,
                                     const std::function<void(const BenchCommRow&)>& row_done);

/// A line for people; the first, with the names of the columns, for no row.
std::string format_bench_comm(const BenchCommRow* row, int world_size);
/// A line of bench/results/*.jsonl.
std::string bench_comm_json(const BenchCommParameters& parameters, const BenchCommRow& row, const std::string& command);

/// Latency against size, a line a back-end: a script for gnuplot that writes an SVG to `file`. The first operation
/// only.
std::string bench_comm_plot(const BenchCommParameters& parameters, const std::vector<BenchCommRow>& rows,
                            const std::string& file);

}  // namespace tandem
