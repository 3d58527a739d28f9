#include "diagnose/bench_comm.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <ctime>
#include <map>

#include "base/clock.h"
#include "base/error.h"
#include "base/half.h"
#include "base/json.h"
#include "comm/rank_team.h"
#include "device/buffer.h"
#include "device/cuda/runtime.h"
#include "tandem/version.h"

namespace tandem {
namespace {

constexpr double kLongestSampleS = 0.2;
constexpr std::size_t kPeriod = 17;  // of the inputs: integers of -8 to 8, so that sums of 16 are exact in every dtype

struct Op {
  std::string name;
  bool has_shares;  ///< a share a rank, together the tensor
  double (*bus_factor)(double world_size);
};
const Op kOps[] = {
    {"all_reduce", false, [](double n) { return 2 * (n - 1) / n; }},
    {"all_gather", true, [](double n) { return (n - 1) / n; }},
    {"reduce_scatter", true, [](double n) { return (n - 1) / n; }},
    {"broadcast", false, [](double) { return 1.0; }},
    {"gather", true, [](double n) { return (n - 1) / n; }},
};

const Op& find_op(const std::string& name) {
  const auto op = std::find_if(std::begin(kOps), std::end(kOps), [&](const Op& o) { return o.name == name; });
  if (op != std::end(kOps)) return *op;
  std::string known;
  for (const Op& o : kOps) known += format("{}{}", known.empty() ? "" : ", ", o.name);
  fail_with_hint(ErrorKind::kInvalidArgument, format("unknown operation \"{}\"", name), "known are " + known);
}

int input(int rank, std::size_t i) {
  return static_cast<int>((i * 5 + static_cast<std::size_t>(rank) * 3) % kPeriod) - 8;
}

// `count` elements of value_of(i), which repeats after kPeriod.
template <class ValueOf>
std::vector<std::byte> repeat(DType dtype, std::int64_t count, const ValueOf& value_of) {
  const std::size_t size = dtype_bytes(dtype, 1);
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * size);
  for (std::size_t i = 0; i < std::min(kPeriod, static_cast<std::size_t>(count)); ++i) {
    const int value = value_of(i);
    const auto put = [&](auto element) { std::memcpy(&bytes[i * size], &element, size); };
    switch (dtype) {
      case DType::kF32:
        put(static_cast<float>(value));
        break;
      case DType::kF16:
        put(to_f16(static_cast<float>(value)));
        break;
      case DType::kBF16:
        put(to_bf16(static_cast<float>(value)));
        break;
      default:
        put(static_cast<std::int32_t>(value));
    }
  }
  for (std::size_t done = kPeriod * size; done < bytes.size();) {  // whole periods, so that the next follows on
    const std::size_t more = std::min(done, bytes.size() - done);
    std::memcpy(&bytes[done], bytes.data(), more);
    done += more;
  }
  return bytes;
}

void write(const Stream& stream, const Tensor& tensor, const std::vector<std::byte>& bytes) {
  if (tensor.device().is_cpu()) {
    std::memcpy(tensor.raw(), bytes.data(), bytes.size());
  } else if constexpr (kBuiltWithCuda) {
    cuda::copy(stream.cuda_handle(), tensor.raw(), bytes.data(), bytes.size());
  }
}

std::vector<std::byte> read(const Stream& stream, const Tensor& tensor) {
  std::vector<std::byte> bytes(tensor.bytes());
  if (tensor.device().is_cpu()) {
    std::memcpy(bytes.data(), tensor.raw(), bytes.size());
  } else if constexpr (kBuiltWithCuda) {
    cuda::copy(stream.cuda_handle(), bytes.data(), tensor.raw(), bytes.size());
    stream.synchronize();
  }
  return bytes;
}

/// One rank's tensors of one measurement.
class Workload {
 public:
  Workload(const RankContext& context, const Op& op, DType dtype, std::int64_t count)
      : context_(context), op_(op), dtype_(dtype), share_(count / context.world_size) {
    const std::int64_t whole = op.has_shares ? share_ * context.world_size : count;
    const bool input_is_share = op.name == "all_gather" || op.name == "gather";
    const bool output_is_share = op.name == "reduce_scatter";
    const Device device = context.stream.device();
    in_ = OwnedTensor(device, dtype, {input_is_share ? share_ : whole});
    out_ = OwnedTensor(device, dtype, {output_is_share ? share_ : whole});
  }

  void fill() {
    write(context_.stream, in_.tensor,
          repeat(dtype_, in_.tensor.num_elements(), [&](std::size_t i) { return input(context_.rank, i); }));
    write(context_.stream, out_.tensor, std::vector<std::byte>(out_.tensor.bytes(), std::byte{0xff}));
    if (op_.name == "broadcast" && context_.rank == 0) {
      write(context_.stream, out_.tensor,
            repeat(dtype_, out_.tensor.num_elements(), [](std::size_t i) { return input(0, i); }));
    }
  }

  void call() const {
    if (op_.name == "all_reduce") return context_.comm.all_reduce(context_.stream, out_.tensor, in_.tensor);
    if (op_.name == "all_gather") return context_.comm.all_gather(context_.stream, out_.tensor, in_.tensor);
    if (op_.name == "reduce_scatter") return context_.comm.reduce_scatter(context_.stream, out_.tensor, in_.tensor);
    if (op_.name == "broadcast") return context_.comm.broadcast(context_.stream, out_.tensor, 0);
    context_.comm.gather(context_.stream, out_.tensor, in_.tensor, 0);
  }

  /// Throws kInternal naming the first byte that differs.
  void check() const {
    if (op_.name == "gather" && context_.rank != 0) return;
    std::vector<std::byte> expected;
    const auto sum_at = [&](std::int64_t first) {
      return repeat(dtype_, out_.tensor.num_elements(), [&](std::size_t i) {
        int sum = 0;
        for (int r = 0; r < context_.world_size; ++r) sum += input(r, i + static_cast<std::size_t>(first));
        return sum;
      });
    };
    if (op_.name == "all_reduce") expected = sum_at(0);
    if (op_.name == "reduce_scatter") expected = sum_at(share_ * context_.rank);
    if (op_.name == "broadcast") {
      expected = repeat(dtype_, out_.tensor.num_elements(), [](std::size_t i) { return input(0, i); });
    }
    if (expected.empty()) {
      for (int r = 0; r < context_.world_size; ++r) {
        const auto part = repeat(dtype_, share_, [&](std::size_t i) { return input(r, i); });
        expected.insert(expected.end(), part.begin(), part.end());
      }
    }
    const std::vector<std::byte> got = read(context_.stream, out_.tensor);
    if (got.empty() || std::memcmp(got.data(), expected.data(), got.size()) == 0) return;
    const auto [at, other] = std::mismatch(got.begin(), got.end(), expected.begin());
    fail(ErrorKind::kInternal, "wrong result on rank {}: {} from byte {} of {} on", context_.rank, op_.name,
         at - got.begin(), got.size());
  }

 private:
  const RankContext& context_;
  const Op& op_;
  DType dtype_;
  std::int64_t share_;
  OwnedTensor in_, out_;
};

/// Seconds of runs of calls, on one rank.
class Timer {
 public:
  Timer(const RankContext& context, bool graph) : context_(context), graph_(graph) {}

  /// Of `calls` calls, after as many that nobody times, which bring the ranks together.
  double time(const Workload& work, int calls) {
    const Stream& stream = context_.stream;
    if constexpr (kBuiltWithCuda) {
      if (!stream.device().is_cpu()) return time_on_gpu(work, calls);
    }
    for (int i = 0; i < std::min(calls, 3); ++i) work.call();
    context_.comm.barrier();
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < calls; ++i) work.call();
    stream.synchronize();
    return seconds_since(start);
  }

 private:
  double time_on_gpu(const Workload& work, int calls) {
    if constexpr (kBuiltWithCuda) {
      void* stream = context_.stream.cuda_handle();
      const int device = context_.stream.device().index;
      std::function<void()> run = [&] {
        for (int i = 0; i < calls; ++i) work.call();
      };
      if (graph_) {
        if (calls != calls_in_graph_) {
          const auto graph = std::make_shared<cuda::Graph>(device, stream, run);
          replay_ = [graph, stream] { graph->launch(stream); };
          calls_in_graph_ = calls;
        }
        run = replay_;
      }
      cuda::Event begin(device), end(device);
      context_.comm.barrier();
      run();
      begin.record(stream);
      run();
      end.record(stream);
      context_.comm.synchronize(context_.stream);
      return cuda::Event::microseconds(begin, end) / 1e6;
    } else {
      return 0;
    }
  }

  const RankContext& context_;
  bool graph_;
  std::function<void()> replay_;
  int calls_in_graph_ = 0;
};

// One row. Ranks agree on the number of calls by what rank 0 has measured.
BenchCommRow measure(RankTeam& team, const BenchCommParameters& parameters, const Op& op, const std::string& backend,
                     std::int64_t bytes) {
  BenchCommRow row{.op = op.name, .backend = backend, .bytes = bytes};
  const std::int64_t count = bytes / static_cast<std::int64_t>(dtype_bytes(parameters.dtype, 1));
  const auto ranks = static_cast<std::size_t>(team.world_size());
  std::vector<std::vector<double>> seconds(ranks);
  std::atomic<int> calls{1};
  try {
    team.run([&](RankContext& context) {
      Workload work(context, op, parameters.dtype, count);
      const auto check = [&] {
        work.fill();
        work.call();
        context.comm.synchronize(context.stream);
        work.check();
      };
      check();
      Timer timer(context, parameters.graph);
      timer.time(work, 1);
      const double once = timer.time(work, 1);
      context.comm.barrier();
      if (context.rank == 0) {
        calls = std::clamp(static_cast<int>(kLongestSampleS / std::max(once, 1e-9)), 1, parameters.calls);
      }
      context.comm.barrier();
      for (int sample = 0; sample < parameters.samples; ++sample) {
        seconds[static_cast<std::size_t>(context.rank)].push_back(timer.time(work, calls));
      }
      check();
    });
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) throw;
    row.error = error.what();
    return row;
  }
  row.calls = calls;
  for (std::size_t sample = 0; sample < seconds[0].size(); ++sample) {
    double slowest = 0;
    for (const auto& rank : seconds) slowest = std::max(slowest, rank[sample]);
    row.microseconds.values.push_back(slowest * 1e6 / row.calls);
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
  for (const std::string& name : parameters.ops) ops.push_back(&find_op(name));
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
                          .timeout = std::chrono::nanoseconds(static_cast<std::int64_t>(parameters.timeout_s * 1e9))});
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
  return format("{:<15} {:>8} {:<8} {:>10.2f} {:>10.2f} {:>7.0f}% {:>10.2f} {:>10.2f}  ok\n", row->op,
                size_text(row->bytes), row->backend, row->microseconds.median(), row->microseconds.smallest(),
                row->microseconds.spread() * 100, row->algorithm_bandwidth() / 1e9,
                row->bus_bandwidth(world_size) / 1e9);
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
