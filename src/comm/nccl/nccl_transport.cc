#include "comm/nccl/nccl_transport.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "comm/nccl/nccl_group.h"
#include "device/buffer.h"
#include "device/cpu/start_thread.h"

namespace tandem {
namespace {

// NCCL has no deadlines, and its set-up takes seconds: it looks at every device and link, and loads its kernels.
constexpr Clock::duration kSetUp = std::chrono::seconds(120);
constexpr Clock::duration kEnd = std::chrono::seconds(5);
constexpr Clock::duration kGone = std::chrono::seconds(1);
constexpr Clock::duration kNap = std::chrono::microseconds(50);
// Non-blocking calls start a thread of NCCL's, which is done in tens of microseconds unless ranks have to connect
// first.
constexpr Clock::duration kSpin = std::chrono::milliseconds(1);

NcclType type_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return NcclType::kFloat32;
    case DType::kF16:
      return NcclType::kFloat16;
    case DType::kBF16:
      return NcclType::kBfloat16;
    case DType::kI32:
      return NcclType::kInt32;
    default:
      fail(ErrorKind::kInternal, "nccl: no sums of {}", to_string(dtype));
  }
}

std::size_t size(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

/// Several calls as one, so that none waits for another.
template <class Calls>
NcclResult grouped(const NcclApi& api, const Calls& calls) {
  NcclResult first = api.group_start();
  if (first != NcclResult::kSuccess) return first;
  calls([&](NcclResult result) {
    if (first == NcclResult::kSuccess && result != NcclResult::kInProgress) first = result;
  });
  const NcclResult last = api.group_end();  // even then: it closes the group
  return first == NcclResult::kSuccess ? last : first;
}

class NcclTransport final : public GpuTransport {
 public:
  explicit NcclTransport(GpuCommunicator& owner)
      : owner_(owner), api_(nccl()), state_(std::static_pointer_cast<NcclGroup>(group().backend_state("nccl", [&] {
          return std::make_shared<NcclGroup>(group().options());
        }))) {
    if (world_size() == 1) return;
    // Not here: to make a communicator must not need the other ranks, which the same thread may make next.
    set_up_thread_ = start_thread(format("the set-up of NCCL on rank {}", rank()), [this] { set_up(); });
  }

  ~NcclTransport() override {
    await_set_up();
    handle().end(group().aborted() ? NcclHandle::How::kAbort : NcclHandle::How::kFinish);
    if (!handle().wait_until_ended(Clock::now() + kEnd)) {
      log(LogLevel::kWarn, Subsystem::kComm, "nccl: rank {} is not rid of its communicator after {:g} s", rank(),
          std::chrono::duration<double>(kEnd).count());
    }
  }

  Deadlines deadlines() const override { return Deadlines::kOnHost; }

  void check() override {
    if (!is_set_up_.load()) return;
    const std::optional<NcclResult> error = async_error();
    if (!error || *error == NcclResult::kSuccess || *error == NcclResult::kInProgress) return;
    try {
      throw_failure(*error);
    } catch (const Error& failure) {
      group().abort(rank(), failure.what(), failure.kind(), failure.hint());
    }
  }

  void all_reduce(const Stream& stream, Tensor out, ConstTensor x, std::uint32_t operation) override {
    queue(stream, operation, [&](NcclComm comm, NcclStream on) {
      return api_.all_reduce(x.raw(), out.raw(), size(x.num_elements()), type_of(x.dtype()), NcclOp::kSum, comm, on);
    });
  }

  void all_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares,
                  std::uint32_t operation) override {
    queue(stream, operation, [&](NcclComm comm, NcclStream on) {
      if (shares.equal) {
        return api_.all_gather(shard.raw(), out.raw(), shard.bytes(), NcclType::kUint8, comm, on);
      }
      return grouped(api_, [&](const auto& note) {
        for (int r = 0; r < world_size(); ++r) {
          if (shares.count(r) == 0) continue;
          const Tensor place = part(out, shares, r);
          note(api_.broadcast(r == rank() ? shard.raw() : place.raw(), place.raw(), place.bytes(), NcclType::kUint8, r,
                              comm, on));
        }
      });
    });
  }

  void reduce_scatter(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares,
                      std::uint32_t operation) override {
    const NcclType type = type_of(x.dtype());
    queue(stream, operation, [&](NcclComm comm, NcclStream on) {
      if (shares.equal) {
        return api_.reduce_scatter(x.raw(), out.raw(), size(shares.count(0)), type, NcclOp::kSum, comm, on);
      }
      return grouped(api_, [&](const auto& note) {
        for (int r = 0; r < world_size(); ++r) {
          if (shares.count(r) == 0) continue;
          note(api_.reduce(part(x, shares, r).raw(), r == rank() ? out.raw() : nullptr, size(shares.count(r)), type,
                           NcclOp::kSum, r, comm, on));
        }
      });
    });
  }

  void broadcast(const Stream& stream, Tensor x, int root, std::uint32_t operation) override {
    queue(stream, operation, [&](NcclComm comm, NcclStream on) {
      return api_.broadcast(x.raw(), x.raw(), x.bytes(), NcclType::kUint8, root, comm, on);
    });
  }

  void gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root,
              std::uint32_t operation) override {
    if (rank() != root) {
      if (shard.num_elements() > 0) send(stream, shard, root, operation);
      return;
    }
    const Tensor mine = part(out, shares, rank());
    if (mine.raw() != shard.raw()) cuda::copy(stream.cuda_handle(), mine.raw(), shard.raw(), shard.bytes());
    if (shares.begin(world_size()) == shares.count(rank())) return;
    queue(stream, operation, [&](NcclComm comm, NcclStream on) {
      return grouped(api_, [&](const auto& note) {
        for (int r = 0; r < world_size(); ++r) {
          const Tensor place = part(out, shares, r);
          if (r == rank() || place.num_elements() == 0) continue;
          note(api_.recv(place.raw(), place.bytes(), NcclType::kUint8, r, comm, on));
        }
      });
    });
  }

  void send(const Stream& stream, ConstTensor x, int to, std::uint32_t operation) override {
    queue(stream, operation,
          [&](NcclComm comm, NcclStream on) { return api_.send(x.raw(), x.bytes(), NcclType::kUint8, to, comm, on); });
  }

  void recv(const Stream& stream, Tensor x, int from, std::uint32_t operation) override {
    queue(stream, operation, [&](NcclComm comm, NcclStream on) {
      return api_.recv(x.raw(), x.bytes(), NcclType::kUint8, from, comm, on);
    });
  }

 private:
  const Group& group() const { return owner_.group(); }
  int rank() const { return owner_.rank(); }
  int world_size() const { return owner_.world_size(); }
  int device() const { return owner_.device(); }
  NcclHandle& handle() { return state_->handle(rank()); }

  enum class Outcome { kDone, kAborted, kLate };

  /// Until `result`, and what it began, is no longer in progress. Throws what NCCL says if it has failed.
  Outcome wait_for_nccl(std::optional<NcclResult> result, Clock::time_point deadline) {
    for (const Clock::time_point start = Clock::now(); result == NcclResult::kInProgress;) {
      const Clock::time_point now = Clock::now();
      if (now > deadline) return Outcome::kLate;
      if (now - start > kSpin) {
        if (is_set_up_.load()) owner_.check_departures();  // before, a rank that leaves still takes part
        std::this_thread::sleep_for(kNap);
      } else {
        std::this_thread::yield();
      }
      result = async_error();
    }
    if (!result) return Outcome::kAborted;
    if (*result != NcclResult::kSuccess) throw_failure(*result);
    return Outcome::kDone;
  }

  std::optional<NcclResult> async_error() {
    return handle().use([&](NcclComm comm) {
      NcclResult error = NcclResult::kSuccess;
      const NcclResult result = api_.comm_get_async_error(comm, &error);
      return result == NcclResult::kSuccess ? error : result;
    });
  }

  [[noreturn]] void throw_failure(NcclResult result) {
    const char* more = api_.get_last_error(nullptr);  // of the last thread that failed, which is likely this one
    const std::string text = more != nullptr && *more != '\0' ? format(": {}", more) : "";
    fail_with_hint(ErrorKind::kInternal,
                   format("NCCL {} failed on rank {} (cuda:{}): {}{}", nccl_version_text(api_.version_code), rank(),
                          device(), api_.get_error_string(result), text),
                   "NCCL_DEBUG=WARN shows what NCCL knows; the back-ends p2p and native do without it");
  }

  // --- set-up, on a thread of its own ---

  /// It needs all ranks, so one that leaves early still takes part, unless a rank does not even come.
  void await_set_up() {
    if (!set_up_thread_.joinable()) return;
    const auto all_joined = [&] {
      for (int r = 0; r < world_size(); ++r) {
        if (!owner_.shared().rank(r).joined.load()) return false;
      }
      return true;
    };
    const Clock::time_point deadline = Clock::now() + group().options().timeout;
    while (!all_joined() && !group().aborted() && Clock::now() < deadline) std::this_thread::sleep_for(kNap);
    if (!all_joined()) {
      group().abort(rank(), "it left the group before all ranks had joined (nccl)", ErrorKind::kPeerLost);
    }
    set_up_thread_.join();
  }

  void set_up() {
    const Clock::time_point deadline = Clock::now() + std::max<Clock::duration>(kSetUp, group().options().timeout);
    Outcome outcome = Outcome::kAborted;
    try {
      cuda::use_device(device());
      if (!group().aborted()) {
        outcome = wait_for_nccl(handle().create(world_size(), state_->id(), rank()), deadline);
        if (outcome == Outcome::kDone) outcome = warm_up(deadline);
      }
      if (outcome == Outcome::kLate) {
        fail_with_hint(
            ErrorKind::kTimeout,
            format("nccl: rank {} (cuda:{}) was not set up after {:g} s: a rank has made no communicator, or "
                   "they do not find each other",
                   rank(), device(), std::chrono::duration<double>(kSetUp).count()),
            "NCCL_DEBUG=INFO shows how far it came");
      }
    } catch (const Error& error) {
      group().abort(rank(), error.what(), error.kind(), error.hint());
    } catch (const std::exception& error) {
      group().abort(rank(), format("nccl: set-up of rank {}: {}", rank(), error.what()), ErrorKind::kInternal);
    }
    is_set_up_.store(outcome == Outcome::kDone);
    state_->bell.ring();
  }

  /// Ranks connect in the first call of a kind and size, which takes up to seconds. Each pair of ranks has its own
  /// connection for messages.
  Outcome warm_up(Clock::time_point deadline) {
    const Stream stream = Stream::cuda(device());
    const NcclStream on = stream.cuda_handle();
    constexpr std::int64_t kBytes = 4 << 20;
    const Buffer in(stream.device(), kBytes), out(stream.device(), kBytes);
    for (const std::size_t count : {std::size_t{1}, size(kBytes / 4 / world_size())}) {
      const auto type = NcclType::kFloat32;
      const auto place = [&](const Buffer& buffer, int r) {
        return static_cast<float*>(buffer.data()) + count * static_cast<std::size_t>(r);
      };
      const std::function<NcclResult(NcclComm)> calls[] = {
          [&](NcclComm comm) {
            return api_.all_reduce(in.data(), out.data(), count * size(world_size()), type, NcclOp::kSum, comm, on);
          },
          [&](NcclComm comm) { return api_.all_gather(in.data(), out.data(), count, type, comm, on); },
          [&](NcclComm comm) {
            return api_.reduce_scatter(in.data(), out.data(), count, type, NcclOp::kSum, comm, on);
          },
          [&](NcclComm comm) { return api_.reduce(in.data(), out.data(), count, type, NcclOp::kSum, 0, comm, on); },
          [&](NcclComm comm) { return api_.broadcast(in.data(), out.data(), count, type, 0, comm, on); },
          [&](NcclComm comm) {
            return grouped(api_, [&](const auto& note) {
              for (int r = 0; r < world_size(); ++r) {
                if (r == rank()) continue;
                note(api_.send(place(in, r), count, type, r, comm, on));
                note(api_.recv(place(out, r), count, type, r, comm, on));
              }
            });
          },
      };
      Outcome outcome = Outcome::kDone;
      for (const auto& call : calls) {
        outcome = wait_for_nccl(handle().use(call), deadline);
        // One after the other: to connect for the next, NCCL may wait for the GPU.
        while (outcome == Outcome::kDone && !cuda::is_done(device(), on)) {
          if (group().aborted()) outcome = Outcome::kAborted;
          if (Clock::now() > deadline) outcome = Outcome::kLate;
          std::this_thread::sleep_for(kNap);
        }
        if (outcome == Outcome::kDone) continue;
        handle().end(NcclHandle::How::kAbort);  // then kernels leave, and the buffers may go
        handle().wait_until_ended(Clock::now() + kEnd);
        for (const Clock::time_point end = Clock::now() + kEnd; !cuda::is_done(device(), on) && Clock::now() < end;) {
          std::this_thread::sleep_for(kNap);
        }
        return outcome;
      }
    }
    return group().aborted() ? Outcome::kAborted : Outcome::kDone;
  }

  /// Queues what call(comm, stream) asks NCCL for.
  template <class Call>
  void queue(const Stream& stream, std::uint32_t operation, const Call& call) {
    if (!is_set_up_.load()) {
      // set_up() has the deadline.
      state_->bell.wait([&] { return is_set_up_.load() || group().aborted(); }, kSpin, Clock::time_point::max());
      if (group().aborted()) owner_.throw_cause(&stream);
    }
    const Clock::time_point deadline = Clock::now() + group().options().timeout;
    Outcome outcome = Outcome::kAborted;
    try {
      outcome = wait_for_nccl(handle().use([&](NcclComm comm) { return call(comm, stream.cuda_handle()); }), deadline);
    } catch (const Error& failure) {
      group().abort(rank(), failure.what(), failure.kind(), failure.hint());
    }
    if (outcome == Outcome::kDone) return;
    if (outcome == Outcome::kLate) owner_.abort_late(operation);  // ranks had to connect, and one did not come
    // The thread inside NCCL may be about to launch a kernel on the caller's tensors; it is gone after this.
    handle().wait_until_ended(Clock::now() + kGone);
    owner_.throw_cause(&stream);
  }

  /// Rank r's part of a tensor of any shape.
  template <class AnyTensor>
  static AnyTensor part(AnyTensor whole, const Shares& shares, int r) {
    return whole.reshape({whole.num_elements()}).slice(shares.begin(r), shares.begin(r + 1));
  }

  GpuCommunicator& owner_;
  const NcclApi& api_;
  std::shared_ptr<NcclGroup> state_;
  std::atomic<bool> is_set_up_{false};
  std::jthread set_up_thread_;
};

}  // namespace

std::unique_ptr<GpuTransport> make_nccl_transport(GpuCommunicator& owner) {
  return std::make_unique<NcclTransport>(owner);
}

}  // namespace tandem
