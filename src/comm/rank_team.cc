#include "comm/rank_team.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/thread_rank.h"
#include "base/trace.h"
#include "comm/doorbell.h"
#include "device/cpu/start_thread.h"
#include "device/cpu/thread_pool.h"
#include "device/cuda/runtime.h"

namespace tandem {
namespace {

// A decode step follows the last one at once where rank 0 only samples in between, and after milliseconds where a
// user's program works in between: poll for the former, sleep for the latter.
constexpr Clock::duration kSpin = std::chrono::microseconds(10);
// Of whom run() waits for in an aborted group, at least: a timeout may be a millisecond.
constexpr Clock::duration kBetweenReports = std::chrono::seconds(1);

}  // namespace

struct RankTeam::Impl {
  struct alignas(64) Rank {
    std::atomic<std::uint32_t> done{0};  // the last job it finished
    std::optional<Stream> stream;
    ThreadRank name;
    std::unique_ptr<Communicator> comm;
  };

  RankTeamOptions options;
  std::vector<Rank> ranks;
  Clock::duration spin = Clock::duration::zero();
  std::atomic<bool> running{false};

  std::mutex mutex;  // guards group and first_cause
  std::optional<Group> group;
  std::exception_ptr first_cause;

  const std::function<void(RankContext&)>* body = nullptr;  // written before job, read after it
  std::atomic<std::uint32_t> job{0};
  std::atomic<bool> stop{false};
  Doorbell work;      // rung with each job
  Doorbell finished;  // rung by the last rank to finish one
  std::vector<std::jthread> threads;

  explicit Impl(const RankTeamOptions& wanted) : options(wanted) {}

  ~Impl() {
    stop.store(true);
    work.ring();
  }

  /// Of all ranks together.
  int num_threads() const { return options.world_size * options.threads_per_rank; }

  Group current_group() {
    const std::lock_guard lock(mutex);
    return *group;
  }

  void build() {
    const Group fresh({.world_size = options.world_size,
                       .timeout = options.timeout,
                       .devices = options.devices,
                       .shared_devices = options.shared_devices,
                       .machine = options.machine,
                       .inbox_bytes = options.inbox_bytes,
                       .num_threads = num_threads()});
    std::vector<std::unique_ptr<Communicator>> comms;
    for (int r = 0; r < options.world_size; ++r) comms.push_back(make_communicator(options.backend, fresh, r));
    const std::lock_guard lock(mutex);
    group = fresh;
    first_cause = nullptr;
    for (std::size_t r = 0; r < ranks.size(); ++r) ranks[r].comm = std::move(comms[r]);
  }

  void start() {
    ranks = std::vector<Rank>(static_cast<std::size_t>(options.world_size));
    if (has_core_each(num_threads())) spin = kSpin;
    for (int r = 0; r < options.world_size; ++r) {
      Rank& rank = ranks[static_cast<std::size_t>(r)];
      rank.stream.emplace(make_stream(r));
      rank.name = make_thread_rank(r, to_string(rank.stream->device()));
    }
    threads.reserve(ranks.size());
    for (int r = 1; r < options.world_size; ++r) {
      threads.push_back(start_thread(format("the thread of rank {}", r), [this, r] { serve(r); }));
    }
  }

  Stream make_stream(int r) const {
    if (options.devices.empty()) {
      return Stream::cpu(options.threads_per_rank, r, num_threads() - options.threads_per_rank);
    }
    return Stream::cuda(options.devices[static_cast<std::size_t>(r)].index);
  }

  void serve(int rank) {
    for (std::uint32_t next = 1;; ++next) {
      // The one wait without a deadline: for work, not for a peer. Destroying the team ends it.
      work.wait([&] { return job.load() == next || stop.load(); }, spin, Clock::time_point::max());
      if (stop.load()) return;
      work_on(rank);
      ranks[static_cast<std::size_t>(rank)].done.store(next);
      if (all_done(next)) finished.ring();
    }
  }

  bool all_done(std::uint32_t number) const {
    for (std::size_t r = 1; r < ranks.size(); ++r) {
      if (ranks[r].done.load() != number) return false;
    }
    return true;
  }

  void work_on(int rank) {
    Rank& mine = ranks[static_cast<std::size_t>(rank)];
    const ThreadRankScope scope(mine.name);
    try {
      if constexpr (kBuiltWithCuda) {
        if (!options.devices.empty()) cuda::use_device(mine.stream->device().index);
      }
      RankContext context{rank, options.world_size, *mine.stream, *mine.comm};
      (*body)(context);
    } catch (const Error& error) {
      failed(rank, error.what(), error.kind() == ErrorKind::kCancelled ? error.kind() : ErrorKind::kPeerLost,
             error.hint());
    } catch (const std::exception& error) {
      failed(rank, error.what(), ErrorKind::kPeerLost, {});
    } catch (...) {
      failed(rank, "an exception of unknown type", ErrorKind::kPeerLost, {});
    }
  }

  /// Inside a handler. Only the exception that ends the group is kept: the others follow from it.
  void failed(int rank, std::string_view what, ErrorKind kind, std::string_view hint) {
    const std::lock_guard lock(mutex);
    if (group->abort(rank, what, kind, hint)) first_cause = std::current_exception();
  }

  void wait_until_done(std::uint32_t number) {
    if (all_done(number)) return;
    static constexpr TraceLabel kLabel = {"wait for all ranks", "wait"};
    const TraceSpan span(kLabel);
    const Clock::time_point start = Clock::now();
    const Clock::duration period = std::max<Clock::duration>(options.timeout, kBetweenReports);
    for (Clock::time_point deadline = start + period; !finished.wait([&] { return all_done(number); }, spin, deadline);
         deadline += period) {
      if (!current_group().aborted()) continue;  // a long body is no failure
      for (std::size_t r = 1; r < ranks.size(); ++r) {
        if (ranks[r].done.load() == number) continue;
        log(LogLevel::kWarn, Subsystem::kComm, "the group is aborted, but rank {} still works after {:.1f} s", r,
            seconds_since(start));
      }
    }
  }
};

RankTeam::RankTeam(const RankTeamOptions& options) : impl_(std::make_unique<Impl>(options)) {
  (void)Group({.world_size = options.world_size, .timeout = options.timeout});  // before anything of that size is made
  impl_->start();
  impl_->build();
}

RankTeam::~RankTeam() = default;

int RankTeam::world_size() const {
  return impl_->options.world_size;
}

void RankTeam::run(const std::function<void(RankContext&)>& body) {
  Impl& impl = *impl_;
  TANDEM_CHECK(!impl.running.exchange(true), "two runs of one team at a time");
  struct Leave {
    std::atomic<bool>& running;
    ~Leave() { running.store(false); }
  } const leave{impl.running};
  if (impl.ranks[0].comm->group().aborted()) impl.ranks[0].comm->group().throw_cause();
  impl.body = &body;
  const std::uint32_t number = impl.job.load() + 1;
  impl.job.store(number);
  impl.work.ring();
  impl.work_on(0);
  impl.wait_until_done(number);
  const Group& group = impl.ranks[0].comm->group();
  if (!group.aborted()) return;
  std::exception_ptr cause;
  {
    const std::lock_guard lock(impl.mutex);
    cause = impl.first_cause;
  }
  if (cause) std::rethrow_exception(cause);
  group.throw_cause();
}

void RankTeam::abort(std::string_view reason) {
  impl_->current_group().abort(-1, reason, ErrorKind::kCancelled);
}

bool RankTeam::aborted() const {
  return impl_->current_group().aborted();
}

void RankTeam::rebuild() {
  TANDEM_CHECK(!impl_->running.load(), "rebuild during a run");
  impl_->build();
}

}  // namespace tandem
