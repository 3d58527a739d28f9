#include "comm/communicator.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/thread_rank.h"
#include "base/trace.h"
#include "comm/call.h"
#include "comm/cpu/cpu_communicator.h"
#include "comm/gpu/make_gpu_communicator.h"
#include "comm/norm.h"
#include "comm/trust/choice.h"
#include "comm/trust/facts.h"
#include "device/cuda/runtime.h"

namespace tandem {
namespace {

void check_tensor(std::string_view what, const Stream& stream, ConstTensor tensor) {
  TANDEM_CHECK(!is_quantised(tensor.dtype()), "{}: tensor is {}", what, to_string(tensor.dtype()));
  TANDEM_CHECK(tensor.device().kind == stream.device().kind, "{}: tensor on {}, stream of {}", what,
               to_string(tensor.device()), to_string(stream.device()));
}

void check_summable(std::string_view what, ConstTensor tensor) {
  TANDEM_CHECK(is_float(tensor.dtype()) || tensor.dtype() == DType::kI32, "{}: no sums of {}", what,
               to_string(tensor.dtype()));
}

void check_pair(std::string_view what, const Stream& stream, ConstTensor out, std::int64_t out_elements,
                ConstTensor in) {
  check_tensor(what, stream, out);
  TANDEM_CHECK(out.dtype() == in.dtype(), "{}: out is {}, the input {}", what, to_string(out.dtype()),
               to_string(in.dtype()));
  TANDEM_CHECK(out.num_elements() == out_elements, "{}: out has {} elements, expected {}", what, out.num_elements(),
               out_elements);
}

bool are_disjoint(ConstTensor a, ConstTensor b) {
  const auto *a_begin = static_cast<const std::byte*>(a.raw()), *b_begin = static_cast<const std::byte*>(b.raw());
  return a.bytes() == 0 || b.bytes() == 0 || std::less_equal<>()(a_begin + a.bytes(), b_begin) ||
         std::less_equal<>()(b_begin + b.bytes(), a_begin);
}

// `part` may lie inside `whole` only at its own place, `offset` elements from the start.
void check_overlap(std::string_view what, ConstTensor whole, ConstTensor part, std::int64_t offset) {
  const auto* begin = static_cast<const std::byte*>(whole.raw());
  const auto* other = static_cast<const std::byte*>(part.raw());
  TANDEM_CHECK(other == begin + dtype_bytes(whole.dtype(), offset) || are_disjoint(whole, part),
               "{}: input and output overlap, {} bytes apart", what, other - begin);
}

constexpr TraceLabel call_label(const char* name) {
  return {name, "comm", {"bytes"}, "back-end"};
}
// By Collective.
constexpr TraceLabel kCallLabels[] = {
    call_label("all-reduce"), call_label("all-gather"), call_label("reduce-scatter"),
    call_label("broadcast"),  call_label("gather"),     call_label("barrier"),
    call_label("send"),       call_label("recv"),       call_label("all-reduce with norm")};
constexpr TraceLabel kQueueLabels[] = {
    call_label("queue all-reduce"), call_label("queue all-gather"), call_label("queue reduce-scatter"),
    call_label("queue broadcast"),  call_label("queue gather"),     call_label("barrier"),
    call_label("queue send"),       call_label("queue recv"),       call_label("queue all-reduce with norm")};
static_assert(std::size(kCallLabels) == std::size(kQueueLabels));

std::optional<std::string> why_no_group(std::span<const Device> devices) {
  if (devices.empty() || devices.size() > kMaxWorldSize) {
    return format("{} ranks; a group has 1 to {}", devices.size(), kMaxWorldSize);
  }
  const auto num_cpus = std::count_if(devices.begin(), devices.end(), [](Device device) { return device.is_cpu(); });
  if (num_cpus == static_cast<std::ptrdiff_t>(devices.size())) return std::nullopt;
  if (num_cpus > 0) return format("{} of {} devices are CPUs; a group has one kind", num_cpus, devices.size());
  int num_gpus = 0;
  std::string why_none = "this build has no CUDA";
  if constexpr (kBuiltWithCuda) num_gpus = cuda::num_devices(&why_none);
  if (num_gpus == 0) return format("no GPU can be used: {}", why_none);
  for (const Device device : devices) {
    if (device.index < 0 || device.index >= num_gpus) {
      return format("there is no {}; {} GPUs can be used", to_string(device), num_gpus);
    }
  }
  return std::nullopt;
}

}  // namespace

Communicator::Communicator(const Group& group, int rank) : group_(group), rank_(rank) {
  if (rank < 0 || rank >= group.world_size()) {
    fail(ErrorKind::kInvalidArgument, "rank {} in a group of {}", rank, group.world_size());
  }
}

TraceSpan Communicator::trace(Collective op, bool queued, std::size_t bytes) const {
  if (!tracing()) [[likely]]
    return TraceSpan();
  const char* name = "auto";
  for (const std::string& known : backend_names()) {
    if (known == backend()) name = known.c_str();
  }
  const TraceLabel& label = (queued ? kQueueLabels : kCallLabels)[static_cast<std::size_t>(op)];
  return TraceSpan(label, static_cast<std::int64_t>(bytes), 0, 0, name);
}

void Communicator::log_call(Device device, const std::string& text) const {
  const ThreadRankScope scope(make_thread_rank(rank_, to_string(device)));
  log(LogLevel::kTrace, Subsystem::kComm, "{}", text);
}

Shares Communicator::equal_shares(std::int64_t count) const {
  Shares shares;
  for (int r = 0; r < world_size(); ++r) shares.offsets[static_cast<std::size_t>(r) + 1] = count * (r + 1);
  return shares;
}

Shares Communicator::ragged_shares(std::string_view what, std::span<const std::int64_t> counts) const {
  TANDEM_CHECK(static_cast<int>(counts.size()) == world_size(), "{}: {} counts for {} ranks", what, counts.size(),
               world_size());
  Shares shares;
  for (int r = 0; r < world_size(); ++r) {
    const auto i = static_cast<std::size_t>(r);
    TANDEM_CHECK(counts[i] >= 0, "{}: {} elements of rank {}", what, counts[i], r);
    shares.offsets[i + 1] = shares.offsets[i] + counts[i];
    shares.equal = shares.equal && counts[i] == counts[0];
  }
  return shares;
}

void Communicator::check_peer(std::string_view what, int peer) const {
  TANDEM_CHECK(peer >= 0 && peer < world_size(), "{}: rank {} in a group of {}", what, peer, world_size());
}

void Communicator::all_reduce(const Stream& stream, Tensor out, ConstTensor x) {
  check_tensor("all-reduce", stream, x);
  check_summable("all-reduce", x);
  check_pair("all-reduce", stream, out, x.num_elements(), x);
  check_overlap("all-reduce", out, x, 0);
  const TraceSpan span = trace(Collective::kAllReduce, !stream.device().is_cpu(), x.bytes());
  do_all_reduce(stream, out, x);
}

void Communicator::all_reduce_add_rms_norm(const Stream& stream, Tensor out, Tensor residual, ConstTensor x,
                                           ConstTensor weight, float epsilon) {
  constexpr std::string_view kName = "all-reduce with norm";
  check_tensor(kName, stream, x);
  TANDEM_CHECK(is_float(x.dtype()), "{}: no norms of {}", kName, to_string(x.dtype()));
  check_pair(kName, stream, out, x.num_elements(), x);
  check_pair(kName, stream, residual, x.num_elements(), x);
  const std::int64_t columns = weight.num_elements();
  TANDEM_CHECK(columns > 0 && x.num_elements() % columns == 0, "{}: rows of {} elements in a tensor of {}", kName,
               columns, x.num_elements());
  check_pair(kName, stream, x, x.num_elements(), weight);
  check_overlap(kName, x, out, 0);
  const bool disjoint = are_disjoint(residual, out) && are_disjoint(residual, x) && are_disjoint(residual, weight) &&
                        are_disjoint(weight, out);
  TANDEM_CHECK(disjoint, "{}: residual or weight overlaps another tensor", kName);
  const TraceSpan span = trace(Collective::kAllReduceAddRmsNorm, !stream.device().is_cpu(), x.bytes());
  do_all_reduce_add_rms_norm(stream, out, x, add_rms_norm_of(out, residual, x, weight, epsilon));
}

void Communicator::all_gather(const Stream& stream, Tensor out, ConstTensor shard) {
  all_gather_checked(stream, out, shard, equal_shares(shard.num_elements()));
}

void Communicator::all_gather(const Stream& stream, Tensor out, ConstTensor shard,
                              std::span<const std::int64_t> counts) {
  all_gather_checked(stream, out, shard, ragged_shares("all-gather", counts));
}

void Communicator::all_gather_checked(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares) {
  check_tensor("all-gather", stream, shard);
  TANDEM_CHECK(shard.num_elements() == shares.count(rank_), "all-gather: shard of {} elements, counted as {}",
               shard.num_elements(), shares.count(rank_));
  check_pair("all-gather", stream, out, shares.begin(world_size()), shard);
  check_overlap("all-gather", out, shard, shares.begin(rank_));
  const TraceSpan span = trace(Collective::kAllGather, !stream.device().is_cpu(), out.bytes());
  do_all_gather(stream, out, shard, shares);
}

void Communicator::reduce_scatter(const Stream& stream, Tensor out, ConstTensor x) {
  reduce_scatter_checked(stream, out, x, equal_shares(out.num_elements()));
}

void Communicator::reduce_scatter(const Stream& stream, Tensor out, ConstTensor x,
                                  std::span<const std::int64_t> counts) {
  reduce_scatter_checked(stream, out, x, ragged_shares("reduce-scatter", counts));
}

void Communicator::reduce_scatter_checked(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares) {
  check_tensor("reduce-scatter", stream, x);
  check_summable("reduce-scatter", x);
  TANDEM_CHECK(x.num_elements() == shares.begin(world_size()), "reduce-scatter: input of {} elements, counted as {}",
               x.num_elements(), shares.begin(world_size()));
  check_pair("reduce-scatter", stream, out, shares.count(rank_), x);
  check_overlap("reduce-scatter", x, out, shares.begin(rank_));
  const TraceSpan span = trace(Collective::kReduceScatter, !stream.device().is_cpu(), x.bytes());
  do_reduce_scatter(stream, out, x, shares);
}

void Communicator::broadcast(const Stream& stream, Tensor x, int root) {
  check_tensor("broadcast", stream, x);
  check_peer("broadcast", root);
  const TraceSpan span = trace(Collective::kBroadcast, !stream.device().is_cpu(), x.bytes());
  do_broadcast(stream, x, root);
}

void Communicator::gather(const Stream& stream, Tensor out, ConstTensor shard, int root) {
  gather_checked(stream, out, shard, equal_shares(shard.num_elements()), root);
}

void Communicator::gather(const Stream& stream, Tensor out, ConstTensor shard, std::span<const std::int64_t> counts,
                          int root) {
  gather_checked(stream, out, shard, ragged_shares("gather", counts), root);
}

void Communicator::gather_checked(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root) {
  check_tensor("gather", stream, shard);
  check_peer("gather", root);
  TANDEM_CHECK(shard.num_elements() == shares.count(rank_), "gather: shard of {} elements, counted as {}",
               shard.num_elements(), shares.count(rank_));
  if (rank_ == root) {
    check_pair("gather", stream, out, shares.begin(world_size()), shard);
    check_overlap("gather", out, shard, shares.begin(rank_));
  }
  const TraceSpan span =
      trace(Collective::kGather, !stream.device().is_cpu(), dtype_bytes(shard.dtype(), shares.begin(world_size())));
  do_gather(stream, out, shard, shares, root);
}

void Communicator::send(const Stream& stream, ConstTensor x, int to) {
  check_tensor("send", stream, x);
  check_peer("send", to);
  TANDEM_CHECK(to != rank_, "send: rank {} to itself", to);
  const TraceSpan span = trace(Collective::kSend, !stream.device().is_cpu(), x.bytes());
  do_send(stream, x, to);
}

void Communicator::recv(const Stream& stream, Tensor x, int from) {
  check_tensor("recv", stream, x);
  check_peer("recv", from);
  TANDEM_CHECK(from != rank_, "recv: rank {} from itself", from);
  const TraceSpan span = trace(Collective::kRecv, !stream.device().is_cpu(), x.bytes());
  do_recv(stream, x, from);
}

void Communicator::barrier() {
  const TraceSpan span = trace(Collective::kBarrier, false, 0);
  do_barrier();
}

void Communicator::synchronize(const Stream& stream) {
  static constexpr TraceLabel kLabel = {"synchronize", "comm"};
  const TraceSpan span(kLabel);
  do_synchronize(stream);
}

const std::vector<std::string>& backend_names() {
  static const std::vector<std::string> names = {"p2p", "nccl", "native", "cpu"};
  return names;
}

std::vector<BackendStatus> get_backend_status(std::span<const Device> devices) {
  const std::optional<std::string> no_group = why_no_group(devices);
  const MachineSnapshot machine = no_group ? MachineSnapshot{} : gather_facts(devices);
  std::vector<BackendStatus> all;
  for (const std::string& name : backend_names()) {
    BackendStatus& status = all.emplace_back(BackendStatus{.name = name});
    if (no_group) {
      status.reason = "no-group";
      status.detail = *no_group;
    } else if (const std::optional<Rejection> rejection = why_not(machine, name, Evidence::kClaimed)) {
      status.reason = to_string(rejection->reason);
      status.detail = rejection->detail;
    } else {
      status.works = true;
      for (const BackendFacts& facts : machine.backends) {
        if (facts.name == name) status.detail = facts.detail;
      }
    }
  }
  return all;
}

std::vector<std::string> get_available_backends(std::span<const Device> devices) {
  std::vector<std::string> names;
  for (const BackendStatus& status : get_backend_status(devices)) {
    if (status.works) names.push_back(status.name);
  }
  return names;
}

std::unique_ptr<Communicator> make_communicator(std::string_view backend, const Group& group, int rank) {
  const std::vector<Device>& devices = group.options().devices;
  const auto gpu = std::find_if(devices.begin(), devices.end(), [](Device device) { return !device.is_cpu(); });
  if (backend == "cpu" || (backend == "auto" && (devices.empty() || devices[0].is_cpu()))) {
    if (gpu == devices.end()) return make_cpu_communicator(group, rank);
    fail(ErrorKind::kInvalidArgument, "back-end \"cpu\" for ranks on CPUs, and rank {} is on {}", gpu - devices.begin(),
         to_string(*gpu));
  }
  if (backend != "auto" &&
      std::find(backend_names().begin(), backend_names().end(), backend) == backend_names().end()) {
    std::string known = "auto";
    for (const std::string& name : backend_names()) known += ", " + name;
    fail_with_hint(ErrorKind::kInvalidArgument, format("unknown communication back-end \"{}\"", backend),
                   "known are " + known);
  }
  if constexpr (kBuiltWithCuda) {
    return make_gpu_communicator(backend, group, rank);
  } else {
    fail_with_hint(ErrorKind::kUnsupported, format("this build has no communication back-end \"{}\"", backend),
                   "here works: cpu");
  }
}

}  // namespace tandem
