#include "comm/gpu/gpu_communicator.h"

#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

namespace tandem {
namespace {

// A decode step ends within this of its last kernel being queued; looking costs a microsecond of the driver.
constexpr Clock::duration kSpin = std::chrono::milliseconds(20);
constexpr Clock::duration kNap = std::chrono::microseconds(50);
// How long kernels may take to leave once told to: they look every so many polls (PushRank::polls_a_look).
constexpr Clock::duration kDrain = std::chrono::seconds(1);
constexpr const char* kSlowRankHint =
    "if a rank was only slow (a loaded machine, a kernel that was compiled), raise the timeout (--timeout, timeout_s)";

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
    if (transports_.back()->deadlines() == Deadlines::kOnHost && !watch_) watch_.emplace(device());
  }
}

// The peers are told first: those that wait for this rank get an error, and what it has queued for them ends.
GpuCommunicator::~GpuCommunicator() {
  shared_->rank(rank()).departed.store(true);
  shared_->barrier.ring();
}

GpuTransport& GpuCommunicator::transport_for(Collective op, std::size_t bytes) {
  return *transports_[route_ ? route_(op, static_cast<std::int64_t>(bytes)) : 0];
}

std::uint32_t GpuCommunicator::begin(const Stream* stream, const Call& call) {
  GpuGroup::Rank& mine = shared_->rank(rank());
  const std::uint32_t operation = mine.operations.add(call);
  const bool message = call.op == Collective::kSend || call.op == Collective::kRecv;
  // A call in a dead group is not announced: a peer may take it for the arrival that completes its barrier.
  if (group().aborted()) throw_cause(stream, mine.calls.count() + (message ? 0 : 1));
  const std::uint32_t number = message ? 0 : mine.calls.add(call);
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
  GpuTransport& transport = transport_for(Collective::kAllReduce, x.bytes());
  transport.all_reduce(stream, out, x, operation);
  watch(stream, transport, operation);
}

void GpuCommunicator::do_all_reduce_add_rms_norm(const Stream& stream, Tensor out, ConstTensor x,
                                                 const AddRmsNorm& norm) {
  const std::uint32_t operation = begin(
      &stream,
      {.op = Collective::kAllReduceAddRmsNorm, .dtype = x.dtype(), .columns = norm.columns, .count = x.num_elements()});
  if (x.num_elements() == 0) return;
  if (world_size() == 1) return add_rms_norm(stream, x.dtype(), norm);
  GpuTransport& transport = transport_for(Collective::kAllReduce, x.bytes());
  transport.all_reduce_add_rms_norm(stream, out, x, norm, operation);
  watch(stream, transport, operation);
}

void GpuCommunicator::do_all_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares) {
  const std::uint32_t operation =
      begin(&stream, with_shares({.op = Collective::kAllGather, .dtype = shard.dtype()}, shares));
  if (out.num_elements() == 0) return;
  if (world_size() == 1) return copy_if_elsewhere(stream, out.raw(), shard.raw(), shard.bytes());
  GpuTransport& transport = transport_for(Collective::kAllGather, out.bytes());
  transport.all_gather(stream, out, shard, shares, operation);
  watch(stream, transport, operation);
}

void GpuCommunicator::do_reduce_scatter(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares) {
  const std::uint32_t operation =
      begin(&stream, with_shares({.op = Collective::kReduceScatter, .dtype = x.dtype()}, shares));
  if (x.num_elements() == 0) return;
  if (world_size() == 1) return copy_if_elsewhere(stream, out.raw(), x.raw(), x.bytes());
  GpuTransport& transport = transport_for(Collective::kReduceScatter, x.bytes());
  transport.reduce_scatter(stream, out, x, shares, operation);
  watch(stream, transport, operation);
}

void GpuCommunicator::do_broadcast(const Stream& stream, Tensor x, int root) {
  const std::uint32_t operation =
      begin(&stream, {.op = Collective::kBroadcast, .dtype = x.dtype(), .root = root, .count = x.num_elements()});
  if (x.num_elements() == 0 || world_size() == 1) return;
  GpuTransport& transport = transport_for(Collective::kBroadcast, x.bytes());
  transport.broadcast(stream, x, root, operation);
  watch(stream, transport, operation);
}

void GpuCommunicator::do_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root) {
  const std::uint32_t operation =
      begin(&stream, with_shares({.op = Collective::kGather, .dtype = shard.dtype(), .root = root}, shares));
  if (shares.begin(world_size()) == 0) return;
  if (world_size() == 1) return copy_if_elsewhere(stream, out.raw(), shard.raw(), shard.bytes());
  GpuTransport& transport = transport_for(Collective::kGather, dtype_bytes(shard.dtype(), shares.begin(world_size())));
  transport.gather(stream, out, shard, shares, root, operation);
  watch(stream, transport, operation);
}

void GpuCommunicator::do_send(const Stream& stream, ConstTensor x, int to) {
  const std::uint32_t operation =
      begin(&stream, {.op = Collective::kSend, .dtype = x.dtype(), .root = to, .count = x.num_elements()});
  if (x.num_elements() == 0) return;
  GpuTransport& transport = transport_for(Collective::kSend, x.bytes());
  transport.send(stream, x, to, operation);
  watch(stream, transport, operation);
}

void GpuCommunicator::do_recv(const Stream& stream, Tensor x, int from) {
  const std::uint32_t operation =
      begin(&stream, {.op = Collective::kRecv, .dtype = x.dtype(), .root = from, .count = x.num_elements()});
  if (x.num_elements() == 0) return;
  GpuTransport& transport = transport_for(Collective::kSend, x.bytes());
  transport.recv(stream, x, from, operation);
  watch(stream, transport, operation);
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
                         rank(), late_ranks(-1, number), backend()),
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

void GpuCommunicator::watch(const Stream& stream, const GpuTransport& transport, std::uint32_t operation) {
  if (transport.deadlines() == Deadlines::kOnHost) watch_->add(stream.cuda_handle(), operation);
}

void GpuCommunicator::check_transports() {
  for (const auto& transport : transports_) transport->check();
}

void GpuCommunicator::check_watch(Clock::time_point waiting_since) {
  if (!watch_) return;
  const std::optional<CallWatch::Call> oldest = watch_->oldest(waiting_since);
  if (oldest && Clock::now() - oldest->since > group().options().timeout) abort_late(oldest->operation);
}

void GpuCommunicator::abort_late(std::uint32_t operation) {
  const GpuGroup::Rank& mine = shared_->rank(rank());
  const auto is_message = [](const Call& call) { return call.op == Collective::kSend || call.op == Collective::kRecv; };
  const std::optional<Call> call = mine.operations.find(operation);
  std::string what = call ? describe(*call, world_size()) : "a collective", late;
  if (call && is_message(*call)) {
    late = format("rank {}", call->root);
  } else {
    std::uint32_t number = mine.calls.count();  // of the late one: less the collectives queued since
    for (std::uint32_t later = operation + 1; later <= mine.operations.count(); ++later) {
      const std::optional<Call> other = mine.operations.find(later);
      if (other && !is_message(*other)) --number;
    }
    what += format(", call {},", number);
    late = late_ranks(-1, number);
    // All have called: a GPU is at fault, or what lies between two of them.
    if (late.empty()) late = "a rank that has called it too";
  }
  const double seconds = std::chrono::duration<double>(group().options().timeout).count();
  group().abort(rank(),
                format("{} timed out after {:g} s: rank {} waits for {}\n  {}; operation {}", what, seconds, rank(),
                       late, backend(), operation),
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

/// "rank 3", "ranks 3, 15": those that have not come to call `number`, and `at_least`, if it is a rank. Empty if there
/// are none.
std::string GpuCommunicator::late_ranks(int at_least, std::uint32_t number) const {
  std::string names;
  int count = 0;
  for (int r = 0; r < world_size(); ++r) {
    if (r == rank() || (r != at_least && shared_->rank(r).calls.count() >= number)) continue;
    names += format("{}{}", count++ > 0 ? ", " : "", r);
  }
  return names.empty() ? names : format("rank{} {}", count > 1 ? "s" : "", names);
}

void GpuCommunicator::check_words() {
  HostWords& mine = shared_->words(rank());
  if (load(mine.broken) == 0 && load(mine.record.state) == WaitRecord::kNone) return;
  if (group().aborted()) return;
  // A lane of some rank has come to its deadline; the ranks it poisoned find its record, which was written first.
  for (const Clock::time_point deadline = Clock::now() + kDrain; Clock::now() < deadline;) {
    for (int r = 0; r < world_size(); ++r) {
      const WaitRecord& record = shared_->words(r).record;
      if (load(record.state) != WaitRecord::kComplete) continue;
      if (r != rank() && Clock::now() + kDrain * 9 / 10 < deadline) continue;  // its own thread knows best who was late
      const std::optional<Call> call = shared_->rank(r).operations.find(record.operation);
      const double seconds = std::chrono::duration<double>(group().options().timeout).count();
      const std::string late =
          r == rank() ? late_ranks(record.peer, shared_->rank(r).calls.count()) : format("rank {}", record.peer);
      group().abort(
          r,
          format("{} timed out after {:g} s: rank {} waits for {}\n  {}; operation {}, generation {}, phase {}, "
                 "block {}",
                 call ? describe(*call, world_size()) : "a collective", seconds, r, late, backend(), record.operation,
                 record.generation, record.phase, record.block),
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
  group().throw_cause(format("rank {} was in {}, call {} ({})", rank(), describe(*call, world_size()),
                             call_number != 0 ? call_number : mine.calls.count(), backend()));
}

}  // namespace tandem
