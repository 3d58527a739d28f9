#include "comm/gpu/gpu_communicator.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "comm/gpu/graph_mark.h"
#include "device/cuda/cuda_check.h"

namespace tandem {
namespace {

// A decode step ends within this of its last kernel being queued; looking costs a microsecond of the driver.
constexpr Clock::duration kSpin = std::chrono::milliseconds(20);
constexpr Clock::duration kNap = std::chrono::microseconds(50);
// How long kernels may take to leave once told to: they look every so many polls (PushRank::polls_a_look).
constexpr Clock::duration kDrain = std::chrono::seconds(1);
constexpr const char* kSlowRankHint =
    "if a rank was only slow (a loaded machine, a kernel that was compiled), raise the timeout (--timeout, timeout_s)";

bool is_message(const Call& call) {
  return call.op == Collective::kSend || call.op == Collective::kRecv;
}

/// "3", "3, 15"
std::string join(const std::vector<int>& ranks) {
  std::string text;
  for (const int r : ranks) text += format("{}{}", text.empty() ? "" : ", ", r);
  return text;
}
/// "rank 3", "ranks 3, 15"; empty if there are none.
std::string names_of(const std::vector<int>& ranks) {
  return ranks.empty() ? "" : format("rank{} {}", ranks.size() > 1 ? "s" : "", join(ranks));
}

/// "all-reduce of 576 f32, call 7,"
std::string name_of(const std::optional<Call>& call, int world_size) {
  if (!call) return "a collective";
  return describe(*call, world_size) + (is_message(*call) ? "" : format(", call {},", call->number));
}
/// "operation 9", "operation 9 as captured": a graph's launches keep the numbers of its recording.
std::string number_of(std::uint32_t operation, const std::optional<Call>& call) {
  return format("operation {}{}", operation, call && call->captured ? " as captured" : "");
}

std::uint32_t load(const std::uint32_t& word) {
  return std::atomic_ref<std::uint32_t>(const_cast<std::uint32_t&>(word)).load(std::memory_order_acquire);
}

// Nothing to announce, and to wait for: this rank's own copy.
void copy_if_elsewhere(const Stream& stream, void* out, const void* in, std::size_t bytes) {
  if (out != in) cuda::copy(stream.cuda_handle(), out, in, bytes);
}

}  // namespace

GpuCommunicator::GpuCommunicator(const Group& group, int rank, std::string_view backend,
                                 const std::vector<MakeTransport>& transports, Route route)
    : Communicator(group, rank),
      backend_(backend),
      shared_(std::static_pointer_cast<GpuGroup>(
          group.backend_state("gpu", [&] { return std::make_shared<GpuGroup>(group.options()); }))),
      route_(std::move(route)) {
  if (shared_->rank(rank).joined.exchange(true)) {
    fail(ErrorKind::kInvalidArgument, "rank {} has a communicator in this group already", rank);
  }
  for (const MakeTransport& make : transports) {
    transports_.push_back(make(*this));
    watches_ = watches_ || transports_.back()->deadlines() == Deadlines::kOnHost;
  }
}

// The peers are told first: those that wait for this rank get an error, and what it has queued for them ends.
GpuCommunicator::~GpuCommunicator() {
  shared_->rank(rank()).departed.store(true);
  shared_->barrier.ring();
}

GpuTransport& GpuCommunicator::transport_for(const Stream& stream, std::uint32_t operation, Collective op,
                                             std::size_t bytes) {
  GpuTransport& transport = *transports_[route_ ? route_(op, static_cast<std::int64_t>(bytes)) : 0];
  if (transport.deadlines() == Deadlines::kOnHost) {
    GpuGroup::Rank& mine = shared_->rank(rank());
    const std::uint32_t number = op == Collective::kSend ? 0 : mine.calls.count();
    if (mine.watch.begin(stream.cuda_handle(), operation, number)) {
      TANDEM_CUDA_CALL(static_cast<cudaError_t>(
          launch_graph_mark(stream.cuda_handle(), &shared_->words_on_gpu(rank())->graph_launches)));
    }
  }
  return transport;
}

void GpuCommunicator::queued(const Stream& stream, const GpuTransport& transport) {
  if (transport.deadlines() == Deadlines::kOnHost) shared_->rank(rank()).watch.end(stream.cuda_handle());
}

std::uint32_t GpuCommunicator::begin(const Stream* stream, Call call) {
  GpuGroup::Rank& mine = shared_->rank(rank());
  const bool message = is_message(call);
  const std::uint32_t number = message ? 0 : mine.calls.count() + 1;
  call.number = number;
  call.captured = stream != nullptr && cuda::is_capturing(stream->cuda_handle());
  const std::uint32_t operation = mine.operations.add(call);
  // A call in a dead group is not announced: a peer may take it for the arrival that completes its barrier.
  if (group().aborted()) throw_cause(stream, mine.calls.count() + (message ? 0 : 1));
  if (!message) mine.calls.add(call);
  if (log_enabled(Subsystem::kComm, LogLevel::kTrace)) {
    log_call({DeviceKind::kCuda, device()}, format("{} ({})", describe(call, world_size()), backend()));
  }
  shared_->barrier.ring();
  if (!(message ? same_message(call) : same_call(call, number))) throw_cause(stream, mine.calls.count());
  // An abort from now on does not undo a barrier that all have reached; what is queued leaves by itself.
  cuda::use_device(device());
  return operation;
}

bool GpuCommunicator::same_call(const Call& call, std::uint32_t number) {
  for (int r = 0; r < world_size(); ++r) {
    const std::optional<Call> theirs = shared_->rank(r).calls.find(number);
    if (!theirs || *theirs == call) continue;
    std::string text = format("ranks disagree about call {} ({}):", number, backend());
    for (int q = 0; q < world_size(); ++q) {
      const std::optional<Call> known = shared_->rank(q).calls.find(number);
      text += format("\n  rank {}: {}", q, known ? describe(*known, world_size()) : "has not called yet");
    }
    group().abort(-1, text, ErrorKind::kInternal);
    return false;
  }
  return true;
}

bool GpuCommunicator::same_message(const Call& call) {
  const bool sends = call.op == Collective::kSend;
  const int from = sends ? rank() : call.root, to = sends ? call.root : rank();
  const std::uint32_t number = shared_->messages(call.op, from, to).add(call);
  const std::optional<Call> sent = shared_->messages(Collective::kSend, from, to).find(number);
  const std::optional<Call> received = shared_->messages(Collective::kRecv, from, to).find(number);
  if (!sent || !received || (sent->dtype == received->dtype && sent->count == received->count)) return true;
  group().abort(rank(),
                format("ranks disagree about a message ({}):\n  rank {}: {}\n  rank {}: {}", backend(), from,
                       describe(*sent, world_size()), to, describe(*received, world_size())),
                ErrorKind::kInternal);
  return false;
}

void GpuCommunicator::do_all_reduce(const Stream& stream, Tensor out, ConstTensor x) {
  const std::uint32_t operation =
      begin(&stream, {.op = Collective::kAllReduce, .dtype = x.dtype(), .count = x.num_elements()});
  if (x.num_elements() == 0) return;
  if (world_size() == 1) return copy_if_elsewhere(stream, out.raw(), x.raw(), x.bytes());
  GpuTransport& transport = transport_for(stream, operation, Collective::kAllReduce, x.bytes());
  transport.all_reduce(stream, out, x, operation);
  queued(stream, transport);
}

void GpuCommunicator::do_all_reduce_add_rms_norm(const Stream& stream, Tensor out, ConstTensor x,
                                                 const AddRmsNorm& norm) {
  const std::uint32_t operation = begin(
      &stream,
      {.op = Collective::kAllReduceAddRmsNorm, .dtype = x.dtype(), .columns = norm.columns, .count = x.num_elements()});
  if (x.num_elements() == 0) return;
  if (world_size() == 1) return add_rms_norm(stream, x.dtype(), norm);
  GpuTransport& transport = transport_for(stream, operation, Collective::kAllReduce, x.bytes());
  transport.all_reduce_add_rms_norm(stream, out, x, norm, operation);
  queued(stream, transport);
}

void GpuCommunicator::do_all_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares) {
  const std::uint32_t operation =
      begin(&stream, with_shares({.op = Collective::kAllGather, .dtype = shard.dtype()}, shares));
  if (out.num_elements() == 0) return;
  if (world_size() == 1) return copy_if_elsewhere(stream, out.raw(), shard.raw(), shard.bytes());
  GpuTransport& transport = transport_for(stream, operation, Collective::kAllGather, out.bytes());
  transport.all_gather(stream, out, shard, shares, operation);
  queued(stream, transport);
}

void GpuCommunicator::do_reduce_scatter(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares) {
  const std::uint32_t operation =
      begin(&stream, with_shares({.op = Collective::kReduceScatter, .dtype = x.dtype()}, shares));
  if (x.num_elements() == 0) return;
  if (world_size() == 1) return copy_if_elsewhere(stream, out.raw(), x.raw(), x.bytes());
  GpuTransport& transport = transport_for(stream, operation, Collective::kReduceScatter, x.bytes());
  transport.reduce_scatter(stream, out, x, shares, operation);
  queued(stream, transport);
}

void GpuCommunicator::do_broadcast(const Stream& stream, Tensor x, int root) {
  const std::uint32_t operation =
      begin(&stream, {.op = Collective::kBroadcast, .dtype = x.dtype(), .root = root, .count = x.num_elements()});
  if (x.num_elements() == 0 || world_size() == 1) return;
  GpuTransport& transport = transport_for(stream, operation, Collective::kBroadcast, x.bytes());
  transport.broadcast(stream, x, root, operation);
  queued(stream, transport);
}

void GpuCommunicator::do_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root) {
  const std::uint32_t operation =
      begin(&stream, with_shares({.op = Collective::kGather, .dtype = shard.dtype(), .root = root}, shares));
  if (shares.begin(world_size()) == 0) return;
  if (world_size() == 1) return copy_if_elsewhere(stream, out.raw(), shard.raw(), shard.bytes());
  GpuTransport& transport =
      transport_for(stream, operation, Collective::kGather, dtype_bytes(shard.dtype(), shares.begin(world_size())));
  transport.gather(stream, out, shard, shares, root, operation);
  queued(stream, transport);
}

void GpuCommunicator::do_send(const Stream& stream, ConstTensor x, int to) {
  const std::uint32_t operation =
      begin(&stream, {.op = Collective::kSend, .dtype = x.dtype(), .root = to, .count = x.num_elements()});
  if (x.num_elements() == 0) return;
  GpuTransport& transport = transport_for(stream, operation, Collective::kSend, x.bytes());
  transport.send(stream, x, to, operation);
  queued(stream, transport);
}

void GpuCommunicator::do_recv(const Stream& stream, Tensor x, int from) {
  const std::uint32_t operation =
      begin(&stream, {.op = Collective::kRecv, .dtype = x.dtype(), .root = from, .count = x.num_elements()});
  if (x.num_elements() == 0) return;
  GpuTransport& transport = transport_for(stream, operation, Collective::kSend, x.bytes());
  transport.recv(stream, x, from, operation);
  queued(stream, transport);
}

void GpuCommunicator::do_barrier() {
  begin(nullptr, {.op = Collective::kBarrier});
  const std::uint32_t number = shared_->rank(rank()).calls.count();
  const auto all_here = [&] {
    for (int r = 0; r < world_size(); ++r) {
      if (shared_->rank(r).calls.count() < number) return false;
    }
    return true;
  };
  const bool in_time = shared_->barrier.wait([&] { return all_here() || group().aborted() || lost_rank() >= 0; },
                                             std::chrono::microseconds(20), Clock::now() + group().options().timeout);
  if (all_here()) {
    if (!same_call({.op = Collective::kBarrier}, number)) throw_cause(nullptr, number);
    return;
  }
  if (group().aborted()) throw_cause(nullptr, number);
  check_departures();
  if (!in_time && !group().aborted()) {
    const double seconds = std::chrono::duration<double>(group().options().timeout).count();
    group().abort(rank(),
                  format("barrier, call {}, timed out after {:g} s: rank {} waits for {}\n  {}", number, seconds,
                         rank(), names_of(late_ranks(-1, number)), backend()),
                  ErrorKind::kTimeout);
  }
  throw_cause(nullptr, number);
}

void GpuCommunicator::do_synchronize(const Stream& stream) {
  const Clock::time_point start = Clock::now();
  while (!cuda::is_done(device(), stream.cuda_handle())) {
    check_words();
    check_departures();
    check_transports();
    check_watch(start);
    if (group().aborted()) throw_cause(&stream);
    if (Clock::now() - start > kSpin) {
      std::this_thread::sleep_for(kNap);
    } else {
      Doorbell::pause();
    }
  }
  check_words();
  check_transports();
  if (group().aborted()) throw_cause(&stream);
}

void GpuCommunicator::check_transports() {
  for (const auto& transport : transports_) transport->check();
}

void GpuCommunicator::check_watch(Clock::time_point waiting_since) {
  if (!watches_) return;
  const std::optional<CallWatch::Call> oldest = shared_->rank(rank()).watch.oldest(waiting_since);
  if (!oldest) return;
  // Where something else may keep this GPU from it, others know better whose fault it is: its peers, and the kernels of
  // another back-end.
  const Clock::duration timeout = group().options().timeout;
  const Clock::duration limit = oldest->begun ? timeout : timeout + timeout / 8;
  if (Clock::now() - oldest->since > limit) abort_late(oldest->operation);
}

void GpuCommunicator::abort_late(std::uint32_t operation) {
  const std::optional<Call> call = shared_->rank(rank()).operations.find(operation);
  const bool replayed = call && call->captured;
  std::string what = name_of(call, world_size()), seen;
  std::vector<int> late, here;
  if (call && is_message(*call)) {
    late = {call->root};
    here = {rank()};
  } else {
    // Which of a graph's calls it is, nobody sees; where the graph began, the GPUs have counted.
    if (replayed) what += " or another of its graph";
    std::uint32_t most = 0;
    for (int r = 0; r < world_size(); ++r) most = std::max(most, load(shared_->words(r).graph_launches));
    for (int r = 0; r < world_size(); ++r) {
      GpuGroup::Rank& other = shared_->rank(r);
      if (replayed) {
        const std::uint32_t launches = load(shared_->words(r).graph_launches);
        (launches < most ? late : here).push_back(r);
        seen += format("; rank {} has begun launch {}", r, launches);
      } else {
        const CallWatch::Progress gpu = other.watch.progress();
        const std::uint32_t number = call ? call->number : 0;
        (other.calls.count() < number || gpu.begun < number ? late : here).push_back(r);
        seen += format("; rank {} has called {}, its GPU begun {} and completed {}", r, other.calls.count(), gpu.begun,
                       gpu.finished);
      }
    }
  }
  // Where this rank's own GPU is behind, with work of another kind, the others wait for it.
  const bool mine_is_late = std::find(late.begin(), late.end(), rank()) != late.end() && !here.empty();
  const int waiting = mine_is_late ? here.front() : rank();
  std::erase(late, waiting);
  const double seconds = std::chrono::duration<double>(group().options().timeout).count();
  group().abort(
      rank(),
      format("{} timed out after {:g} s: rank {} waits for {}\n  {}; {}{}", what, seconds, waiting,
             // All are at it: a GPU is at fault, or what lies between two of them.
             late.empty() ? "a rank that is at it too" : names_of(late), backend(), number_of(operation, call), seen),
      ErrorKind::kTimeout, kSlowRankHint);
}

// A rank that left without making the calls that this one has queued will never answer them.
int GpuCommunicator::lost_rank() const {
  const std::uint32_t mine = shared_->rank(rank()).calls.count();
  for (int r = 0; r < world_size(); ++r) {
    const GpuGroup::Rank& other = shared_->rank(r);
    if (other.departed.load() && other.calls.count() < mine) return r;
  }
  return -1;
}

void GpuCommunicator::check_departures() {
  const int lost = lost_rank();
  if (lost < 0) return;
  const std::uint32_t missed = shared_->rank(lost).calls.count() + 1;
  const std::optional<Call> call = shared_->rank(rank()).calls.find(missed);
  group().abort(lost,
                format("it left the group, and rank {} waits for it in {}, call {} ({})", rank(),
                       call ? describe(*call, world_size()) : "a call", missed, backend()),
                ErrorKind::kPeerLost);
}

/// Those that have not come to call `number`, and `at_least`, if it is a rank.
std::vector<int> GpuCommunicator::late_ranks(int at_least, std::uint32_t number) const {
  std::vector<int> late;
  for (int r = 0; r < world_size(); ++r) {
    if (r != rank() && (r == at_least || shared_->rank(r).calls.count() < number)) late.push_back(r);
  }
  return late;
}

void GpuCommunicator::check_words() {
  if (group().aborted()) return;
  const auto has_left = [&](int r) {
    const HostWords& words = shared_->words(r);
    return load(words.broken) != 0 || load(words.record.state) != WaitRecord::kNone;
  };
  // Of any rank: where GPUs cannot write each other's memory the others learn it from here, and that rank's own thread
  // may be busy.
  bool left = false;
  for (int r = 0; r < world_size(); ++r) left = left || has_left(r);
  if (!left) return;
  // A lane of some rank has come to its deadline; the ranks it poisoned find its record, which was written first.
  for (const Clock::time_point deadline = Clock::now() + kDrain; Clock::now() < deadline;) {
    for (int r = 0; r < world_size(); ++r) {
      const WaitRecord& record = shared_->words(r).record;
      if (load(record.state) != WaitRecord::kComplete) continue;
      if (r != rank() && Clock::now() + kDrain * 9 / 10 < deadline) continue;  // its own thread knows best who was late
      const std::optional<Call> call = shared_->rank(r).operations.find(record.operation);
      const double seconds = std::chrono::duration<double>(group().options().timeout).count();
      // Of a message its peer alone, and who has called what says nothing of a graph's launches.
      const bool by_calls = r == rank() && !(call && (call->captured || is_message(*call)));
      group().abort(
          r,
          format("{} timed out after {:g} s: rank {} waits for {}\n  {}; {}, generation {}, phase {}, block {}",
                 name_of(call, world_size()), seconds, r,
                 names_of(by_calls ? late_ranks(record.peer, shared_->rank(r).calls.count())
                                   : std::vector<int>{record.peer}),
                 backend(), number_of(record.operation, call), record.generation, record.phase, record.block),
          ErrorKind::kTimeout, kSlowRankHint);
    }
    if (group().aborted()) return;
    std::this_thread::yield();
  }
  group().abort(rank(), format("a collective on rank {} left early, and no rank says why ({})", rank(), backend()),
                ErrorKind::kInternal);
}

void GpuCommunicator::throw_cause(const Stream* stream, std::uint32_t call_number) {
  if (stream != nullptr && !cuda::is_capturing(stream->cuda_handle())) {
    const Clock::time_point deadline = Clock::now() + kDrain;
    while (!cuda::is_done(device(), stream->cuda_handle()) && Clock::now() < deadline) std::this_thread::yield();
  }
  const GpuGroup::Rank& mine = shared_->rank(rank());
  const std::optional<Call> call = mine.operations.find(mine.operations.count());
  if (!call) group().throw_cause();
  group().throw_cause(format("rank {} was in {}{}, call {} ({})", rank(), call->captured ? "a graph up to " : "",
                             describe(*call, world_size()), call_number != 0 ? call_number : mine.calls.count(),
                             backend()));
}

}  // namespace tandem
