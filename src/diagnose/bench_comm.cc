#include "diagnose/bench_comm.h"

#include <algorithm>
#include <ctime>
#include <map>

#include "base/error.h"
#include "base/json.h"
#include "comm/measure.h"
#include "comm/rank_team.h"
#include "tandem/version.h"

namespace tandem {
namespace {

constexpr std::int64_t kLeastBound = std::int64_t{1} << 20;  // below, latency counts and not what links carry

struct Op {
  std::string name;
  Collective op;
  double (*bus_factor)(double world_size);
};
const Op kOps[] = {
    {"all_reduce", Collective::kAllReduce, [](double n) { return 2 * (n - 1) / n; }},
    {"all_gather", Collective::kAllGather, [](double n) { return (n - 1) / n; }},
    {"reduce_scatter", Collective::kReduceScatter, [](double n) { return (n - 1) / n; }},
    {"broadcast", Collective::kBroadcast, [](double) { return 1.0; }},
    {"all_reduce_norm", Collective::kAllReduceAddRmsNorm, [](double n) { return 2 * (n - 1) / n; }},
    {"gather", Collective::kGather, [](double n) { return (n - 1) / n; }},
};

const Op& find_op(const std::string& name) {
  const auto op = std::find_if(std::begin(kOps), std::end(kOps), [&](const Op& o) { return o.name == name; });
  if (op != std::end(kOps)) return *op;
  std::string known;
  for (const Op& o : kOps) known += format("{}{}", known.empty() ? "" : ", ", o.name);
  fail_with_hint(ErrorKind::kInvalidArgument, format("unknown operation \"{}\"", name), "known are " + known);
}

BenchCommRow measure(RankTeam& team, const BenchCommParameters& parameters, const Op& op, const std::string& backend,
                     std::int64_t bytes) {
  BenchCommRow row{.op = op.name, .backend = backend, .bytes = bytes};
  try {
    const CallTimes times = measure_collective(team, {.op = op.op,
                                                      .dtype = parameters.dtype,
                                                      .bytes = bytes,
                                                      .graph = parameters.graph,
                                                      .calls = parameters.calls,
                                                      .samples = parameters.samples});
    row.calls = times.calls;
    row.microseconds.values = times.microseconds;
    // An all-reduce between two brings each byte to the host once, and one back.
    const bool bound = backend == "native" && op.op == Collective::kAllReduce && bytes >= kLeastBound;
    if (bound && team.world_size() == 2) row.bound_us = measure_host_copies(team, bytes);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) throw;
    row.error = error.what();
  }
  return row;
}

std::string size_text(std::int64_t bytes) {
  if (bytes >= 1 << 20 && bytes % (1 << 20) == 0) return format("{} MB", bytes >> 20);
  if (bytes >= 1 << 10 && bytes % (1 << 10) == 0) return format("{} KB", bytes >> 10);
  return format("{} B", bytes);
}

}  // namespace

const std::vector<std::string>& bench_comm_ops() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Op& op : kOps) all.push_back(op.name);
    return all;
  }();
  return names;
}

double BenchCommRow::algorithm_bandwidth() const {
  const double us = microseconds.median();
  return us > 0 ? static_cast<double>(bytes) / us * 1e6 : 0;
}

double BenchCommRow::share_of_bound() const {
  return bound_us / microseconds.median();
}

double BenchCommRow::bus_bandwidth(int world_size) const {
  return algorithm_bandwidth() * find_op(op).bus_factor(world_size);
}

std::vector<BenchCommRow> bench_comm(const BenchCommParameters& parameters,
                                     const std::function<void(const BenchCommRow&)>& row_done) {
  const bool cpu = parameters.devices.empty() || parameters.devices[0].is_cpu();
  const auto world_size = static_cast<int>(parameters.devices.size());
  const std::vector<std::string> backends =
      parameters.backends.empty() ? get_available_backends(parameters.devices) : parameters.backends;
  std::vector<const Op*> ops;
  for (const std::string& name : parameters.ops) {
    const Op& op = find_op(name);
    const bool serves = op.op != Collective::kAllReduceAddRmsNorm || is_float(parameters.dtype);
    if (serves) ops.push_back(&op);
    if (!serves && parameters.ops.size() == 1) {
      fail_with_hint(ErrorKind::kInvalidArgument, format("{} of {}", name, to_string(parameters.dtype)),
                     "norms are of bf16, f16 or f32");
    }
  }
  std::map<std::string, std::unique_ptr<RankTeam>> teams;
  std::vector<BenchCommRow> rows;
  const auto add = [&](BenchCommRow row) {
    row_done(row);
    rows.push_back(std::move(row));
  };
  for (const std::string& backend : backends) {
    try {
      teams[backend] = std::make_unique<RankTeam>(
          RankTeamOptions{.world_size = world_size,
                          .backend = backend,
                          .devices = cpu ? std::vector<Device>{} : parameters.devices,
                          .timeout = std::chrono::nanoseconds(static_cast<std::int64_t>(parameters.timeout_s * 1e9)),
                          .inbox_bytes = parameters.inbox_bytes});
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInvalidArgument) throw;
      add({.backend = backend, .error = error.what()});
    }
  }
  for (const Op* op : ops) {
    for (const std::int64_t bytes : parameters.sizes) {
      for (const std::string& backend : backends) {  // side by side, so that what else the machine does falls on all
        const auto team = teams.find(backend);
        if (team == teams.end() || !team->second) continue;
        add(measure(*team->second, parameters, *op, backend, bytes));
        if (!rows.back().error.empty()) teams.erase(team);
      }
    }
  }
  return rows;
}

std::string format_bench_comm(const BenchCommRow* row, int world_size) {
  if (row == nullptr) {
    return format("{:<15} {:>8} {:<8} {:>10} {:>10} {:>8} {:>10} {:>10}  {}\n", "operation", "size", "backend",
                  "median us", "least us", "spread", "alg GB/s", "bus GB/s", "result");
  }
  if (!row->error.empty()) {
    return format("{:<15} {:>8} {:<8} {}\n", row->op, row->bytes > 0 ? size_text(row->bytes) : "", row->backend,
                  row->error);
  }
  const std::string share =
      row->bound_us > 0 ? format(", {:.0f} % of copies to the host and back", 100 * row->share_of_bound()) : "";
  return format("{:<15} {:>8} {:<8} {:>10.2f} {:>10.2f} {:>7.0f}% {:>10.2f} {:>10.2f}  ok{}\n", row->op,
                size_text(row->bytes), row->backend, row->microseconds.median(), row->microseconds.smallest(),
                row->microseconds.spread() * 100, row->algorithm_bandwidth() / 1e9,
                row->bus_bandwidth(world_size) / 1e9, share);
}

std::string bench_comm_json(const BenchCommParameters& parameters, const BenchCommRow& row,
                            const std::string& command) {
  const auto world_size = static_cast<int>(parameters.devices.size());
  const bool gpu = !parameters.devices.empty() && !parameters.devices[0].is_cpu();
  Json record = {{"name", row.op},
                 {"command", command},
                 {"commit", std::string(commit())},
                 {"machine", machine_name()},
                 {"unix_time", static_cast<std::int64_t>(std::time(nullptr))},
                 {"world_size", world_size},
                 {"backend", row.backend},
                 {"dtype", to_string(parameters.dtype)},
                 {"mode", gpu && parameters.graph ? "graph" : "eager"},
                 {"bytes", row.bytes}};
  if (!row.error.empty()) {
    record["error"] = row.error;
  } else {
    record.update({{"calls", row.calls},
                   {"unit", "us/call"},
                   {"samples", row.microseconds.values},
                   {"median", row.microseconds.median()},
                   {"least", row.microseconds.smallest()},
                   {"spread", row.microseconds.spread()},
                   {"algorithm_bandwidth", row.algorithm_bandwidth()},
                   {"bus_bandwidth", row.bus_bandwidth(world_size)}});
    if (row.bound_us > 0) record.update({{"bound_us", row.bound_us}, {"share_of_bound", row.share_of_bound()}});
  }
  return json_text(record) + "\n";
}

std::string bench_comm_plot(const BenchCommParameters& parameters, const std::vector<BenchCommRow>& rows,
                            const std::string& file) {
  const std::string& op = parameters.ops.at(0);
  std::string data, lines;
  std::map<std::string, std::string> by_backend;
  for (const BenchCommRow& row : rows) {
    if (row.op != op || !row.error.empty()) continue;
    by_backend[row.backend] +=
        format("{} {} {} {}\n", row.bytes, row.microseconds.median(), row.microseconds.smallest(),
               *std::max_element(row.microseconds.values.begin(), row.microseconds.values.end()));
  }
  for (const auto& [backend, points] : by_backend) {
    data += format("${} << EOD\n{}EOD\n", backend, points);
    lines +=
        format("{}${} using 1:2:3:4 with yerrorlines lw 1.5 title \"{}\"", lines.empty() ? "" : ", ", backend, backend);
  }
  std::string quoted;
  for (const char c : file) quoted += c == '\'' ? std::string("''") : std::string(1, c);
  return format(
      "set terminal svg size 900,560 background \"white\"\nset output '{}'\nset title \"{}, {} ranks, {}\" noenhanced\n"
      "set xlabel \"bytes\"\nset ylabel \"microseconds a call\"\nset logscale x 2\nset logscale y 10\n"
      "set format x \"%.0b %BB\"\nset grid\nset key top left\n{}plot {}\n",
      quoted, op, parameters.devices.size(), to_string(parameters.dtype), data, lines);
}

}  // namespace tandem
