#include "comm/measure.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>

#include "base/clock.h"
#include "base/error.h"
#include "base/half.h"
#include "comm/norm.h"
#include "device/buffer.h"
#include "device/cuda/runtime.h"

namespace tandem {
namespace {

constexpr double kLongestSampleS = 0.2;
constexpr std::size_t kPeriod = 17;  // of the inputs: integers of -8 to 8, so that sums of 16 are exact in every dtype

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
  Workload(const RankContext& context, Collective op, DType dtype, std::int64_t count)
      : context_(context), op_(op), dtype_(dtype), share_(count / context.world_size) {
    const bool has_shares =
        op == Collective::kAllGather || op == Collective::kGather || op == Collective::kReduceScatter;
    const std::int64_t whole = has_shares ? share_ * context.world_size : count;
    const bool input_is_share = op == Collective::kAllGather || op == Collective::kGather;
    const bool output_is_share = op == Collective::kReduceScatter;
    const Device device = context.stream.device();
    in_ = OwnedTensor(device, dtype, {input_is_share ? share_ : whole});
    out_ = OwnedTensor(device, dtype, {output_is_share ? share_ : whole});
    if (op == Collective::kAllReduceAddRmsNorm) {
      residual_ = OwnedTensor(device, dtype, {whole});
      weight_ = OwnedTensor(device, dtype, {whole % kColumns == 0 ? kColumns : whole});
    }
  }

  void fill() {
    write(context_.stream, in_.tensor,
          repeat(dtype_, in_.tensor.num_elements(), [&](std::size_t i) { return input(context_.rank, i); }));
    write(context_.stream, out_.tensor, std::vector<std::byte>(out_.tensor.bytes(), std::byte{0xff}));
    if (op_ == Collective::kAllReduceAddRmsNorm) {
      for (const OwnedTensor* tensor : {&residual_, &weight_}) {
        write(context_.stream, tensor->tensor,
              repeat(dtype_, tensor->tensor.num_elements(), [](std::size_t i) { return input(0, i); }));
      }
    }
    if (op_ == Collective::kBroadcast && context_.rank == 0) {
      write(context_.stream, out_.tensor,
            repeat(dtype_, out_.tensor.num_elements(), [](std::size_t i) { return input(0, i); }));
    }
  }

  void call() const {
    if (op_ == Collective::kAllReduce) return context_.comm.all_reduce(context_.stream, out_.tensor, in_.tensor);
    if (op_ == Collective::kAllGather) return context_.comm.all_gather(context_.stream, out_.tensor, in_.tensor);
    if (op_ == Collective::kReduceScatter)
      return context_.comm.reduce_scatter(context_.stream, out_.tensor, in_.tensor);
    if (op_ == Collective::kAllReduceAddRmsNorm) {
      return context_.comm.all_reduce_add_rms_norm(context_.stream, out_.tensor, residual_.tensor, in_.tensor,
                                                   weight_.tensor, kEpsilon);
    }
    if (op_ == Collective::kBroadcast) return context_.comm.broadcast(context_.stream, out_.tensor, 0);
    context_.comm.gather(context_.stream, out_.tensor, in_.tensor, 0);
  }

  /// Throws kInternal naming the first byte that differs.
  void check() const {
    if (op_ == Collective::kGather && context_.rank != 0) return;
    std::vector<std::byte> expected;
    const auto sum_at = [&](std::int64_t first) {
      return repeat(dtype_, out_.tensor.num_elements(), [&](std::size_t i) {
        int sum = 0;
        for (int r = 0; r < context_.world_size; ++r) sum += input(r, i + static_cast<std::size_t>(first));
        return sum;
      });
    };
    if (op_ == Collective::kAllReduce) expected = sum_at(0);
    if (op_ == Collective::kAllReduceAddRmsNorm) expected = norm_of(sum_at(0));
    if (op_ == Collective::kReduceScatter) expected = sum_at(share_ * context_.rank);
    if (op_ == Collective::kBroadcast) {
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
    fail(ErrorKind::kInternal, "wrong result on rank {}: {} from byte {} of {} on", context_.rank, to_string(op_),
         at - got.begin(), got.size());
  }

 private:
  // The second of the two steps, by itself.
  std::vector<std::byte> norm_of(const std::vector<std::byte>& sum) const {
    const Stream& stream = context_.stream;
    const OwnedTensor x(stream.device(), dtype_, {in_.tensor.num_elements()});
    const OwnedTensor residual(stream.device(), dtype_, {in_.tensor.num_elements()});
    write(stream, x.tensor, sum);
    write(stream, residual.tensor,
          repeat(dtype_, residual.tensor.num_elements(), [](std::size_t i) { return input(0, i); }));
    add_rms_norm(stream, dtype_, add_rms_norm_of(x.tensor, residual.tensor, x.tensor, weight_.tensor, kEpsilon));
    return read(stream, x.tensor);
  }

  static constexpr std::int64_t kColumns = 8192;  // of a row, where the tensor has whole ones
  static constexpr float kEpsilon = 1e-5f;
  const RankContext& context_;
  Collective op_;
  DType dtype_;
  std::int64_t share_;
  OwnedTensor in_, out_;
  OwnedTensor residual_, weight_;  // of a norm
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

}  // namespace

CallTimes measure_collective(RankTeam& team, const CallToMeasure& what) {
  const std::int64_t count = what.bytes / static_cast<std::int64_t>(dtype_bytes(what.dtype, 1));
  std::vector<std::vector<double>> seconds(static_cast<std::size_t>(team.world_size()));
  std::atomic<int> calls{1};
  team.run([&](RankContext& context) {
    Workload work(context, what.op, what.dtype, count);
    const auto check = [&] {
      work.fill();
      work.call();
      context.comm.synchronize(context.stream);
      work.check();
    };
    check();
    Timer timer(context, what.graph);
    timer.time(work, 1);
    const double once = timer.time(work, 1);
    context.comm.barrier();
    if (context.rank == 0) {  // all agree by what it has measured
      calls = std::clamp(static_cast<int>(kLongestSampleS / std::max(once, 1e-9)), 1, what.calls);
    }
    context.comm.barrier();
    for (int sample = 0; sample < what.samples; ++sample) {
      seconds[static_cast<std::size_t>(context.rank)].push_back(timer.time(work, calls));
    }
    check();
  });
  CallTimes times{.calls = calls, .microseconds = {}};
  for (std::size_t sample = 0; sample < seconds[0].size(); ++sample) {
    double slowest = 0;
    for (const auto& rank : seconds) slowest = std::max(slowest, rank[sample]);
    times.microseconds.push_back(slowest * 1e6 / times.calls);
  }
  return times;
}

double measure_host_copies(RankTeam& team, std::int64_t bytes) {
  constexpr int kRepeats = 5, kCopies = 4;
  std::vector<double> least(static_cast<std::size_t>(team.world_size()), 1e300);
  if constexpr (kBuiltWithCuda) {
    team.run([&](RankContext& context) {
      const Device device = context.stream.device();
      const auto size = static_cast<std::size_t>(bytes);
      const Stream back = Stream::cuda(device.index);
      const Buffer out(device, size), in(device, size);
      const cuda::PinnedBuffer sent(size), received(size);
      for (int repeat = 0; repeat < kRepeats; ++repeat) {
        context.comm.barrier();
        const Clock::time_point start = Clock::now();
        for (int i = 0; i < kCopies; ++i) {
          cuda::copy(context.stream.cuda_handle(), sent.data(), out.data(), size);
          cuda::copy(back.cuda_handle(), in.data(), received.data(), size);
        }
        context.stream.synchronize();
        back.synchronize();
        context.comm.barrier();  // so that the time is that of the slowest
        double& mine = least[static_cast<std::size_t>(context.rank)];
        mine = std::min(mine, seconds_since(start) / kCopies);
      }
    });
  }
  return *std::max_element(least.begin(), least.end()) * 1e6;
}

}  // namespace tandem
