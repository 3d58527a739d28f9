// Every collective is one exchange: publish what this rank brings, meet the others, compare the calls, move data.
//
//   up to 16 KB   input copied to shared memory | meet | every rank computes its own output from the copies
//                 Copies are double buffered: a rank writes copy g + 2 only after it met all in g + 1, so all are done
//                 with g.
//   above         pointer published | meet | every rank computes a share, from and to the tensors of all | meet
//                 Nobody leaves such a call while a peer may still touch its tensors, also not by an exception: the
//                 group is aborted first, and then no peer starts, and those that work are waited for (drain()).
//
// "Meet" is a barrier of generation words: a rank stores its own, and waits for those of all others. Since every
// collective contains one, nobody laps anybody, and broadcast and gather need no acknowledgement of their own.
// send and recv use a ring of slots in shared memory for each ordered pair and never touch the peer's tensors.
#include "comm/cpu/cpu_communicator.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/trace.h"
#include "comm/cpu/cpu_group.h"
#include "comm/cpu/reduce.h"
#include "comm/norm.h"

namespace tandem {
namespace {

constexpr std::int64_t kChunkBytes = 256 * 1024;  // moved between two looks at the abort word: about 0.1 ms
constexpr std::int64_t kShareUnit = 64;           // elements: no two ranks write the same cache line

/// On the circle of 2^32: `seen` is `want` or later.
bool reached(std::uint32_t seen, std::uint32_t want) {
  return static_cast<std::int32_t>(seen - want) >= 0;
}

class CpuCommunicator final : public Communicator {
 public:
  CpuCommunicator(const Group& group, int rank, std::shared_ptr<CpuGroup> shared)
      : Communicator(group, rank), shared_(std::move(shared)), generation_(group.options().first_generation) {
    if (shared_->rank(rank).joined.exchange(true)) {
      fail(ErrorKind::kInvalidArgument, "rank {} has a communicator in this group already", rank);
    }
  }

  ~CpuCommunicator() override {
    shared_->rank(rank()).departed = true;
    ++shared_->departures;
    shared_->wake_all();
  }

  std::string_view backend() const override { return "cpu"; }

 private:
  void do_all_reduce(const Stream& stream, Tensor out, ConstTensor x) override {
    sum_over_ranks(stream, {.op = Collective::kAllReduce, .dtype = x.dtype(), .count = x.num_elements()}, out, x);
  }

  void do_all_reduce_add_rms_norm(const Stream& stream, Tensor out, ConstTensor x, const AddRmsNorm& norm) override {
    sum_over_ranks(stream,
                   {.op = Collective::kAllReduceAddRmsNorm,
                    .dtype = x.dtype(),
                    .columns = norm.columns,
                    .count = x.num_elements()},
                   out, x);
    AddRmsNorm rest = norm;
    rest.x = rest.out;
    add_rms_norm(stream, x.dtype(), rest);
  }

  void sum_over_ranks(const Stream& stream, const Call& call, Tensor out, ConstTensor x) {
    exchange(call, x.raw(), x.bytes(), out.raw(), x.bytes(), [&](bool staged) {
      if (staged) {
        void* const output = out.raw();
        return sum(stream, call.dtype, 0, call.count, {&output, 1}, 0);
      }
      const std::int64_t units = (call.count + kShareUnit - 1) / kShareUnit;
      const auto begin = [&](int r) { return std::min(call.count, units * r / world_size() * kShareUnit); };
      std::array<void*, kMaxWorldSize> outputs;
      for (int r = 0; r < world_size(); ++r) outputs[static_cast<std::size_t>(r)] = peer(r).output;
      sum(stream, call.dtype, begin(rank()), begin(rank() + 1),
          std::span(outputs).first(static_cast<std::size_t>(world_size())), 0);
    });
  }

  void do_reduce_scatter(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares) override {
    const Call call = with_shares({.op = Collective::kReduceScatter, .dtype = x.dtype()}, shares);
    exchange(call, x.raw(), x.bytes(), nullptr, x.bytes(), [&](bool) {
      if (shares.count(rank()) == 0) return;
      void* const output = out.raw();
      const std::int64_t begin = shares.begin(rank());
      sum(stream, call.dtype, begin, shares.begin(rank() + 1), {&output, 1}, begin);
    });
  }

  void do_all_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares) override {
    const Call call = with_shares({.op = Collective::kAllGather, .dtype = shard.dtype()}, shares);
    exchange(call, shard.raw(), shard.bytes(), nullptr, largest(call.dtype, shares),
             [&](bool) { collect(stream, out, shares); });
  }

  void do_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root) override {
    const Call call = with_shares({.op = Collective::kGather, .dtype = shard.dtype(), .root = root}, shares);
    exchange(call, shard.raw(), shard.bytes(), nullptr, largest(call.dtype, shares), [&](bool) {
      if (rank() == root) collect(stream, out, shares);
    });
  }

  void do_broadcast(const Stream& stream, Tensor x, int root) override {
    const Call call{.op = Collective::kBroadcast, .dtype = x.dtype(), .root = root, .count = x.num_elements()};
    exchange(call, x.raw(), rank() == root ? x.bytes() : 0, nullptr, x.bytes(), [&](bool) {
      if (rank() != root) copy(stream, x.raw(), peer(root).input, x.bytes());
    });
  }

  void do_barrier() override {
    exchange({.op = Collective::kBarrier}, nullptr, 0, nullptr, 0, [](bool) {});
  }

  void do_synchronize(const Stream& stream) override { stream.synchronize(); }

  void do_send(const Stream&, ConstTensor x, int to) override;
  void do_recv(const Stream&, Tensor x, int from) override;

  /// move(staged) runs between the meetings, when peer(r) says where each rank's input lies. `bytes`: how many of this
  /// rank's input the others need; `most_bytes`: the most that any rank brings, known to all.
  template <class Move>
  void exchange(const Call& call, const void* input, std::size_t bytes, void* output, std::size_t most_bytes,
                const Move& move);
  void meet(const Call& call, std::uint32_t phase);
  void compare_calls(const Call& call) const;
  void drain() const;
  Device device() const { return {DeviceKind::kCpu, rank()}; }
  CpuGroup::Published& peer(int r) const { return shared_->published(r, generation_); }

  std::size_t largest(DType dtype, const Shares& shares) const {
    std::int64_t most = 0;
    for (int r = 0; r < world_size(); ++r) most = std::max(most, shares.count(r));
    return dtype_bytes(dtype, most);
  }

  /// Elements [begin, end) of the sum; the outputs begin with element `first` of it.
  void sum(const Stream& stream, DType dtype, std::int64_t begin, std::int64_t end, std::span<void* const> outputs,
           std::int64_t first);
  void copy(const Stream& stream, void* out, const void* in, std::size_t bytes) const;
  void collect(const Stream& stream, Tensor out, const Shares& shares) const;

  /// Returns once arrived(r) for all ranks r in [begin, end). Throws, and ends the group, when one of them left without
  /// arriving or does not arrive in time; what() then says what this rank is doing, seen(r) where rank r was last seen.
  template <class Arrived, class What, class Seen>
  void wait_for(Doorbell& bell, int begin, int end, const Arrived& arrived, const What& what, const Seen& seen) const;
  [[noreturn]] void throw_cause(const std::string& doing) const {
    group().throw_cause(format("rank {} was in {} (cpu)", rank(), doing));
  }
  std::string doing(const Call& call) const {
    return format("{}, call {}", describe(call, world_size()), call_number());
  }
  /// Counted from 1, for people.
  std::uint32_t call_number() const { return generation_ - group().options().first_generation; }

  std::shared_ptr<CpuGroup> shared_;
  std::uint32_t generation_;  // of the last call; the one counter from which words and buffers follow
};

template <class Arrived, class What, class Seen>
void CpuCommunicator::wait_for(Doorbell& bell, int begin, int end, const Arrived& arrived, const What& what,
                               const Seen& seen) const {
  const auto all_arrived = [&] {
    for (int r = begin; r < end; ++r) {
      if (!arrived(r)) return false;
    }
    return true;
  };
  // A rank that departed after its last call has arrived: look for its departure first, then for its arrival.
  const auto lost_rank = [&] {
    if (shared_->departures.load() == 0) return -1;
    for (int r = begin; r < end; ++r) {
      if (shared_->rank(r).departed.load() && !arrived(r)) return r;
    }
    return -1;
  };
  if (all_arrived()) return;
  static constexpr TraceLabel kLabel = {"wait for peers", "wait", {"call"}};
  const TraceSpan span(kLabel, call_number());
  const Clock::time_point deadline = Clock::now() + group().options().timeout;
  const bool in_time =
      bell.wait([&] { return all_arrived() || group().aborted() || lost_rank() >= 0; }, shared_->spin(), deadline);
  if (all_arrived()) return;
  if (group().aborted()) throw_cause(what());
  if (const int lost = lost_rank(); lost >= 0) {
    group().abort(lost, format("it left the group, and rank {} waits for it in {} (cpu)", rank(), what()),
                  ErrorKind::kPeerLost);
    throw_cause(what());
  }
  TANDEM_CHECK(!in_time, "rank {} woke for nothing", rank());
  std::string missing;
  std::string last;
  int num_missing = 0;
  for (int r = begin; r < end; ++r) {
    if (arrived(r)) continue;
    missing += format("{}{}", num_missing > 0 ? ", " : "", r);
    last += format("{}rank {} {}", num_missing > 0 ? "; " : "", r, seen(r));
    ++num_missing;
  }
  if (num_missing == 0) return;  // the last of them came just now
  const double seconds = std::chrono::duration<double>(group().options().timeout).count();
  group().abort(rank(),
                format("{} timed out after {:g} s: rank {} waits for rank{} {}\n  cpu; {}", what(), seconds, rank(),
                       num_missing > 1 ? "s" : "", missing, last),
                ErrorKind::kTimeout,
                "if a rank was only slow (swapping, a loaded machine), raise the timeout (--timeout, timeout_s)");
  throw_cause(what());
}

void CpuCommunicator::meet(const Call& call, std::uint32_t phase) {
  const std::uint32_t want = generation_ * 2 + phase;
  const auto arrived = [&](int r) { return reached(shared_->rank(r).generation.load(), want); };
  // Sequentially consistent: of the ranks that store their word, the last one sees the words of all, and rings.
  shared_->rank(rank()).generation.store(want);
  bool last = true;
  for (int r = 0; r < world_size() && last; ++r) last = arrived(r);
  if (last) return shared_->barrier.ring();
  wait_for(
      shared_->barrier, 0, world_size(), arrived, [&] { return doing(call); },
      [&](int r) {
        const std::uint32_t behind = (generation_ * 2 + 1 - shared_->rank(r).generation.load()) / 2;
        const std::uint32_t number = call_number() - behind;
        return number == 0 ? std::string("has made no call yet") : format("was last seen at call {}", number);
      });
}

void CpuCommunicator::compare_calls(const Call& call) const {
  bool same = true;
  for (int r = 0; r < world_size(); ++r) same = same && peer(r).call == call;
  if (same) [[likely]]
    return;
  // Every rank sees the same calls and writes the same text, whoever is first.
  std::string text = format("ranks disagree about call {} (cpu):", call_number());
  for (int r = 0; r < world_size(); ++r) text += format("\n  rank {}: {}", r, describe(peer(r).call, world_size()));
  group().abort(-1, text, ErrorKind::kInternal);
  throw_cause(doing(call));
}

void CpuCommunicator::drain() const {
  // The group is aborted, so no peer starts. The wait has no deadline, because what it waits for waits for nobody: a
  // peer's loops over at most kChunkBytes a thread.
  for (int r = 0; r < world_size(); ++r) {
    while (r != rank() && shared_->rank(r).touching.load()) std::this_thread::yield();
  }
}

template <class Move>
void CpuCommunicator::exchange(const Call& call, const void* input, std::size_t bytes, void* output,
                               std::size_t most_bytes, const Move& move) {
  ++generation_;
  if (group().aborted()) throw_cause(doing(call));
  if (log_enabled(Subsystem::kComm, LogLevel::kTrace)) {
    log_call(device(), format("{}, {} bytes, call {}", to_string(call.op), most_bytes, call_number()));
  }
  const bool staged = most_bytes <= CpuGroup::kStagedBytes;
  if (staged && bytes > 0) {
    void* copied = shared_->staging(rank(), generation_);
    std::memcpy(copied, input, bytes);
    input = copied;
  }
  peer(rank()) = {input, output, call};
  if (staged) {
    meet(call, 0);
    compare_calls(call);
    return move(true);
  }
  std::atomic<bool>& touching = shared_->rank(rank()).touching;
  try {
    meet(call, 0);
    compare_calls(call);
    touching.store(true);  // before the look at the abort word: see Group::abort
    if (!group().aborted()) move(false);
    touching.store(false);
    if (group().aborted()) throw_cause(doing(call));  // the move may be missing or cut short: do not report it done
    meet(call, 1);
  } catch (const std::exception& error) {
    touching.store(false);
    group().abort(rank(), error.what(), ErrorKind::kPeerLost);
    drain();
    throw;
  }
}

void CpuCommunicator::sum(const Stream& stream, DType dtype, std::int64_t begin, std::int64_t end,
                          std::span<void* const> outputs, std::int64_t first) {
  std::array<const void*, kMaxWorldSize> inputs;
  for (int r = 0; r < world_size(); ++r) inputs[static_cast<std::size_t>(r)] = peer(r).input;
  const auto used = std::span<const void* const>(inputs).first(static_cast<std::size_t>(world_size()));
  const auto chunk = kChunkBytes / static_cast<std::int64_t>(dtype_bytes(dtype, 1));
  if (end - begin <= chunk) return reduce_in_order(dtype, used, outputs, begin, end, first);
  stream.parallel_for(end - begin, chunk, [&](std::int64_t part_begin, std::int64_t part_end) {
    for (std::int64_t i = part_begin; i < part_end && !group().aborted(); i += chunk) {
      reduce_in_order(dtype, used, outputs, begin + i, begin + std::min(i + chunk, part_end), first);
    }
  });
}

void CpuCommunicator::copy(const Stream& stream, void* out, const void* in, std::size_t bytes) const {
  if (out == in || bytes == 0) return;
  if (bytes <= kChunkBytes) {
    std::memcpy(out, in, bytes);
    return;
  }
  stream.parallel_for(static_cast<std::int64_t>(bytes), kChunkBytes, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last && !group().aborted(); i += kChunkBytes) {
      std::memcpy(static_cast<std::byte*>(out) + i, static_cast<const std::byte*>(in) + i,
                  static_cast<std::size_t>(std::min(kChunkBytes, last - i)));
    }
  });
}

void CpuCommunicator::collect(const Stream& stream, Tensor out, const Shares& shares) const {
  for (int r = 0; r < world_size(); ++r) {
    copy(stream, static_cast<std::byte*>(out.raw()) + dtype_bytes(out.dtype(), shares.begin(r)), peer(r).input,
         dtype_bytes(out.dtype(), shares.count(r)));
  }
}

void CpuCommunicator::do_send(const Stream&, ConstTensor x, int to) {
  const Call call{.op = Collective::kSend, .dtype = x.dtype(), .root = to, .count = x.num_elements()};
  const auto what = [&] { return describe(call, world_size()); };
  if (group().aborted()) throw_cause(what());
  if (log_enabled(Subsystem::kComm, LogLevel::kTrace)) {
    log_call(device(), format("send, {} bytes, to rank {}", x.bytes(), to));
  }
  CpuGroup::Channel& channel = shared_->channel(rank(), to);
  const auto* data = static_cast<const std::byte*>(x.raw());
  std::size_t left = x.bytes();
  do {  // once for a message without elements
    const std::uint32_t number = channel.sent.load(std::memory_order_relaxed);
    const auto slot_is_free = [&](int) { return reached(channel.received.load(), number + 1 - CpuGroup::kSlots); };
    wait_for(shared_->rank(rank()).messages, to, to + 1, slot_is_free, what, [](int) { return "does not receive"; });
    const std::size_t part = std::min(left, CpuGroup::kSlotBytes);
    channel.messages[number % CpuGroup::kSlots] = {x.dtype(), x.num_elements()};
    if (part > 0) std::memcpy(shared_->slot(rank(), to, number), data, part);
    data += part;
    left -= part;
    channel.sent.store(number + 1);
    shared_->rank(to).messages.ring();
  } while (left > 0);
}

void CpuCommunicator::do_recv(const Stream&, Tensor x, int from) {
  const Call call{.op = Collective::kRecv, .dtype = x.dtype(), .root = from, .count = x.num_elements()};
  const auto what = [&] { return describe(call, world_size()); };
  if (group().aborted()) throw_cause(what());
  if (log_enabled(Subsystem::kComm, LogLevel::kTrace)) {
    log_call(device(), format("recv, {} bytes, from rank {}", x.bytes(), from));
  }
  CpuGroup::Channel& channel = shared_->channel(from, rank());
  auto* data = static_cast<std::byte*>(x.raw());
  std::size_t left = x.bytes();
  do {
    const std::uint32_t number = channel.received.load(std::memory_order_relaxed);
    const auto slot_is_full = [&](int) { return reached(channel.sent.load(), number + 1); };
    wait_for(shared_->rank(rank()).messages, from, from + 1, slot_is_full, what, [](int) { return "does not send"; });
    const CpuGroup::Channel::Message& message = channel.messages[number % CpuGroup::kSlots];
    if (message.dtype != x.dtype() || message.count != x.num_elements()) {
      group().abort(rank(),
                    format("ranks disagree about a message (cpu):\n  rank {}: send of {} {} to rank {}\n  rank {}: {}",
                           from, message.count, to_string(message.dtype), rank(), rank(), what()),
                    ErrorKind::kInternal);
      throw_cause(what());
    }
    const std::size_t part = std::min(left, CpuGroup::kSlotBytes);
    if (part > 0) std::memcpy(data, shared_->slot(from, rank(), number), part);
    data += part;
    left -= part;
    channel.received.store(number + 1);
    shared_->rank(from).messages.ring();
  } while (left > 0);
}

}  // namespace

std::unique_ptr<Communicator> make_cpu_communicator(const Group& group, int rank) {
  auto shared = std::static_pointer_cast<CpuGroup>(
      group.backend_state("cpu", [&] { return std::make_shared<CpuGroup>(group.options()); }));
  return std::make_unique<CpuCommunicator>(group, rank, std::move(shared));
}

}  // namespace tandem
