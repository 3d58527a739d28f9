#include "comm/trust/probe.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "comm/push/push_kernels.h"
#include "comm/trust/probe_reports.h"
#include "device/cpu/start_thread.h"
#include "device/cuda/cuda_check.h"
#include "device/cuda/runtime.h"
#include "device/stream.h"

namespace tandem {
namespace {

constexpr int kBlocks = 12;   // four in each form
constexpr int kThreads = 64;  // 256 lanes in each form
constexpr std::uint32_t kSeed = 1;
constexpr std::uint32_t kPingPongRounds = 1000;
constexpr std::int64_t kLoadBytes = std::int64_t{16} << 20;  // what is written over and over again
constexpr int kLoadPasses = 4;                               // for a figure
constexpr double kLoadSeconds = 0.02;                        // beside a probe
constexpr int kLoadBlocks = 64, kLoadThreads = 512;

void check(int error) {
  TANDEM_CUDA_CALL(static_cast<cudaError_t>(error));
}

std::int64_t in_lines(std::int64_t bytes) {
  constexpr std::int64_t kLine = InboxLayout::kWordBytes;
  return (bytes + kLine - 1) / kLine * kLine;
}

// What of a GPU's memory the others map: its inbox, its own words, a place for load.
struct Memory {
  explicit Memory(int world_size)
      : layout(world_size, probe_rooms(kBlocks, kThreads, 1)),
        words(in_lines(layout.bytes())),
        load{.first_packet = (words + in_lines(sizeof(DeviceWords))) / kPackBytes,
             .slot_packets = kLoadBytes / kPackBytes,
             .num_slots = 1} {}
  InboxLayout layout;
  std::int64_t words;
  Area load;
  std::size_t bytes() const { return static_cast<std::size_t>(load.end() * kPackBytes); }
};

// Owns everything that kernels may touch.
class Prober {
 public:
  Prober(const std::vector<int>& devices, const ProbeOptions& options)
      : devices_(devices),
        options_(options),
        grid_{.world_size = static_cast<int>(devices.size()), .blocks = kBlocks, .threads = kThreads},
        memory_(grid_.world_size),
        results_(devices.size() * devices.size()),
        host_words_(devices.size() * sizeof(HostWords)),
        nanoseconds_(devices.size() * sizeof(double)) {
    map_memory();
    for (int r = 0; r < grid_.world_size; ++r) set_up(r);
  }

  void run() {
    for (int a = 0; a < grid_.world_size; ++a) {
      for (int b = a + 1; b < grid_.world_size; ++b) {
        if (!over_ && mapped(a, b) && mapped(b, a)) probe_alone(a, b);
        if (!over_ && options_.measure && passed(a, b)) measure(a, b);
      }
    }
    if (!over_) probe_all();
  }

  /// Waits until no kernel runs. Whether that came about.
  bool ended() const noexcept {
    try {
      return unfinished(bit(grid_.world_size) - 1, Clock::now() + options_.launch_timeout) == 0;
    } catch (const Error&) {
      return false;
    }
  }

  const std::vector<ProbeResult>& results() const { return results_; }

 private:
  ProbeResult& result(int from, int to) { return results_[static_cast<std::size_t>(from * grid_.world_size + to)]; }
  int device(int r) const { return devices_[static_cast<std::size_t>(r)]; }
  const PushRank& rank(int r) const { return ranks_[static_cast<std::size_t>(r)]; }
  void* stream(int r) const { return streams_[static_cast<std::size_t>(r)].cuda_handle(); }
  void* load_stream(int r) const { return load_streams_[static_cast<std::size_t>(r)].cuda_handle(); }
  static std::uint32_t bit(int r) { return std::uint32_t{1} << r; }
  // Whether `from` can write into the memory of `to`.
  bool mapped(int from, int to) { return result(from, to).outcome == ProbeOutcome::kNotTried; }
  bool passed(int a, int b) {
    return result(a, b).outcome == ProbeOutcome::kPassed && result(b, a).outcome == ProbeOutcome::kPassed;
  }

  void map_memory() {
    for (int to = 0; to < grid_.world_size; ++to) {
      std::vector<int> writers;
      for (int from = 0; from < grid_.world_size; ++from) {
        if (from == to) continue;
        if (!cuda::can_access_peer(device(from), device(to))) {
          result(from, to).outcome = ProbeOutcome::kNoAccess;
          continue;
        }
        writers.push_back(device(from));
      }
      writers.push_back(device(to));
      try {
        buffers_.emplace_back(device(to), writers, memory_.bytes());
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kUnsupported) throw;
        buffers_.emplace_back(device(to), writers_by_trial(to), memory_.bytes());
      }
    }
  }

  // Those that can map memory of `to`, though not all that should.
  std::vector<int> writers_by_trial(int to) {
    std::vector<int> writers{device(to)};
    for (int from = 0; from < grid_.world_size; ++from) {
      if (from == to || !mapped(from, to)) continue;
      try {
        const cuda::PeerBuffer trial(device(to), {device(to), device(from)}, 1);
        writers.push_back(device(from));
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kUnsupported) throw;
        result(from, to).outcome = ProbeOutcome::kMapFailed;
        result(from, to).detail = error.what();
      }
    }
    return writers;
  }

  void set_up(int r) {
    const cuda::OnDevice current(device(r));
    PushRank mine;
    mine.rank = r;
    mine.world_size = grid_.world_size;
    mine.deadline_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(options_.wait_timeout).count());
    mine.host = static_cast<HostWords*>(host_words_.on(device(r))) + r;
    mine.layout = memory_.layout;
    for (int other = 0; other < grid_.world_size; ++other) {
      mine.inboxes[other] = static_cast<std::byte*>(buffers_[static_cast<std::size_t>(other)].data());
    }
    mine.words = reinterpret_cast<DeviceWords*>(mine.inboxes[r] + memory_.words);
    // No poisons: a lane that waits in vain ends alone (comm/protocol/probe.h).
    ranks_.push_back(mine);
    streams_.push_back(Stream::cuda(device(r)));
    load_streams_.push_back(Stream::cuda(device(r)));
    reports_.emplace_back(grid_.num_reports() * sizeof(ProbeReport));
    const Area& sentinels = memory_.layout.one_shot_sentinel;
    check(launch_fill(stream(r), mine.inboxes[r] + sentinels.first_packet * kPackBytes, SentinelPackets::kSentinel,
                      (sentinels.end() - sentinels.first_packet) * 4));
    check(load_probe_kernels());
    streams_.back().synchronize();
  }

  ProbeReport* reports(int r) const { return static_cast<ProbeReport*>(reports_[static_cast<std::size_t>(r)].data()); }
  std::span<const ProbeReport> found(int r) const { return {reports(r), grid_.num_reports()}; }

  void probe_alone(int a, int b) {
    const ProbePlan plan{.seed = kSeed, .first_round = 1, .rounds = options_.rounds};
    at_once(bit(a) | bit(b), [&](int r) {
      ProbePlan mine = plan;
      mine.peers = bit(r == a ? b : a);
      queue_probe(r, mine);
    });
    if (!wait_for(bit(a) | bit(b))) return;
    keep(result(a, b), judge_pair(grid_, plan, a, b, found(b), found(a)));
    keep(result(b, a), judge_pair(grid_, plan, b, a, found(a), found(b)));
  }

  // While each GPU pushes bulk data to the others, one after the other.
  void probe_all() {
    const ProbePlan plan{.seed = kSeed, .first_round = 1 + options_.rounds, .rounds = (options_.rounds + 3) / 4};
    const auto peers_of = [&](int r) {
      std::uint32_t peers = 0;
      for (int peer = 0; peer < grid_.world_size; ++peer) peers |= peer != r && passed(r, peer) ? bit(peer) : 0;
      return peers;
    };
    std::uint32_t ranks = 0;
    for (int r = 0; r < grid_.world_size; ++r) ranks |= peers_of(r) != 0 ? bit(r) : 0;
    at_once(ranks, [&](int r) {
      ProbePlan mine = plan;
      mine.peers = peers_of(r);
      for (int k = 1; k < grid_.world_size; ++k) {
        const int peer = (r + k) % grid_.world_size;
        if ((mine.peers & bit(peer)) == 0) continue;
        const double bytes = result(r, peer).bandwidth * kLoadSeconds / (grid_.world_size - 1);
        queue_load(r, peer, load_stream(r), std::max(1, static_cast<int>(bytes / kLoadBytes)));
      }
      queue_probe(r, mine);
    });
    if (!wait_for(ranks)) return;
    std::vector<ProbeResult> loaded;
    for (int from = 0; from < grid_.world_size; ++from) {
      for (int to = 0; to < grid_.world_size; ++to) {
        loaded.push_back(from == to ? ProbeResult{} : judge_pair(grid_, plan, from, to, found(to), found(from)));
      }
    }
    for (int a = 0; a < grid_.world_size; ++a) {
      for (int b = a + 1; b < grid_.world_size; ++b) {
        if (!passed(a, b)) continue;  // as far as it was tried before
        for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
          ProbeResult& under_load = loaded[static_cast<std::size_t>(from * grid_.world_size + to)];
          if (!under_load.detail.empty()) under_load.detail = "all pairs at once: " + under_load.detail;
          // Not tried to the end, since another pair failed: what it did alone stands.
          if (under_load.outcome == ProbeOutcome::kNotTried) under_load.outcome = ProbeOutcome::kPassed;
          keep(result(from, to), under_load);
        }
      }
    }
  }

  static void keep(ProbeResult& so_far, const ProbeResult& more) {
    so_far.outcome = more.outcome;
    so_far.rounds += more.rounds;
    so_far.detail = more.detail;
  }

  void measure(int a, int b) {
    auto* nanoseconds = static_cast<double*>(nanoseconds_.data());
    at_once(bit(a) | bit(b), [&](int r) {
      const cuda::OnDevice current(device(r));
      nanoseconds[r] = 0;
      check(launch_ping_pong(rank(r), stream(r), {.first_round = 1, .rounds = kPingPongRounds}, r == a ? b : a,
                             static_cast<double*>(nanoseconds_.on(device(r))) + r));
    });
    if (!wait_for(bit(a) | bit(b))) return;
    std::vector<cuda::Event> begin, end;
    for (const auto& [r, peer] : {std::pair(a, b), std::pair(b, a)}) {
      result(r, peer).latency_us = nanoseconds[r] / 1e3;
      queue_load(r, peer, stream(r), 1);  // so that both are at work when the clock starts
      begin.emplace_back(device(r)).record(stream(r));
      queue_load(r, peer, stream(r), kLoadPasses);
      end.emplace_back(device(r)).record(stream(r));
    }
    if (!wait_for(bit(a) | bit(b))) return;
    result(a, b).bandwidth = kLoadPasses * kLoadBytes / (cuda::Event::microseconds(begin[0], end[0]) * 1e-6);
    result(b, a).bandwidth = kLoadPasses * kLoadBytes / (cuda::Event::microseconds(begin[1], end[1]) * 1e-6);
  }

  void queue_load(int r, int to, void* stream, int passes) {
    const cuda::OnDevice current(device(r));
    check(launch_push_load(rank(r), {stream, kLoadBlocks, kLoadThreads}, to, memory_.load, passes));
  }

  /// queue(r) for each of `ranks`, on a thread of its own: with CUDA_LAUNCH_BLOCKING a launch returns when its kernel
  /// has ended, and that waits for the others'.
  template <class Queue>
  void at_once(std::uint32_t ranks, const Queue& queue) {
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(grid_.world_size));
    {
      std::vector<std::jthread> threads;
      threads.reserve(errors.size());
      for (int r = 0; r < grid_.world_size; ++r) {
        if ((ranks & bit(r)) == 0) continue;
        threads.push_back(start_thread(format("the probe of cuda:{}", device(r)), [&, r] {
          try {
            queue(r);
          } catch (...) {
            errors[static_cast<std::size_t>(r)] = std::current_exception();
          }
        }));
      }
    }
    for (const std::exception_ptr& error : errors) {
      if (error) std::rethrow_exception(error);
    }
  }

  void queue_probe(int r, const ProbePlan& plan) {
    const cuda::OnDevice current(device(r));
    std::fill_n(reports(r), grid_.num_reports(), ProbeReport{});
    check(launch_probe(rank(r), {stream(r), kBlocks, kThreads}, plan,
                       r == options_.fault_from ? options_.fault : ProbeFault{},
                       static_cast<ProbeReport*>(reports_[static_cast<std::size_t>(r)].on(device(r)))));
  }

  // Those of `ranks` on which something still runs at the deadline.
  std::uint32_t unfinished(std::uint32_t ranks, Clock::time_point deadline) const {
    while (true) {
      for (int r = 0; r < grid_.world_size; ++r) {
        const bool waits = (ranks & bit(r)) != 0;
        if (waits && cuda::is_done(device(r), stream(r)) && cuda::is_done(device(r), load_stream(r))) ranks &= ~bit(r);
      }
      if (ranks == 0 || Clock::now() > deadline) return ranks;
      std::this_thread::yield();
    }
  }

  // Whether all that was queued on these ranks has ended by itself. Else the probe is over.
  bool wait_for(std::uint32_t ranks) {
    try {
      const std::uint32_t late = unfinished(ranks, Clock::now() + options_.launch_timeout);
      if (late == 0) return true;
      for (int r = 0; r < grid_.world_size; ++r) {
        std::atomic_ref<std::uint32_t>(static_cast<HostWords*>(host_words_.data())[r].abort)
            .store(1, std::memory_order_relaxed);
      }
      blame(ranks, late, format("kernels of the probe did not end in {} ms", options_.launch_timeout.count()));
    } catch (const Error& error) {  // a GPU fell over, and its context with it
      blame(ranks, ranks, error.what());
    }
    over_ = true;
    return false;
  }

  // The pairs among `ranks` of which `culprits` are a part.
  void blame(std::uint32_t ranks, std::uint32_t culprits, const std::string& detail) {
    log(LogLevel::kWarn, Subsystem::kComm, "probe: {}", detail);
    for (int from = 0; from < grid_.world_size; ++from) {
      for (int to = 0; to < grid_.world_size; ++to) {
        const std::uint32_t both = bit(from) | bit(to);
        if (from == to || (ranks & both) != both || (culprits & both) == 0 ||
            !(mapped(from, to) || result(from, to).outcome == ProbeOutcome::kPassed))
          continue;
        result(from, to).outcome = ProbeOutcome::kLost;
        result(from, to).detail = detail;
      }
    }
  }

  const std::vector<int> devices_;
  const ProbeOptions options_;
  const ProbeGrid grid_;
  const Memory memory_;
  std::vector<ProbeResult> results_;
  cuda::PinnedBuffer host_words_, nanoseconds_;
  std::vector<cuda::PeerBuffer> buffers_;
  std::vector<cuda::PinnedBuffer> reports_;
  std::vector<PushRank> ranks_;
  std::vector<Stream> streams_, load_streams_;
  bool over_ = false;  // nothing more is to be tried
};

}  // namespace

std::vector<ProbeResult> probe_pairs(const std::vector<int>& devices, const ProbeOptions& options) {
  const int num_devices = cuda::num_devices();
  if (devices.size() > kMaxWorldSize) {
    fail(ErrorKind::kInvalidArgument, "{} GPUs to probe; at most {} can work together", devices.size(), kMaxWorldSize);
  }
  for (const int device : devices) {
    if (device < 0 || device >= num_devices) {
      fail(ErrorKind::kNotFound, "there is no cuda:{}; {} GPUs are visible", device, num_devices);
    }
    if (std::count(devices.begin(), devices.end(), device) > 1) {
      fail(ErrorKind::kInvalidArgument, "cuda:{} is given more than once", device);
    }
  }
  if (devices.size() < 2) return std::vector<ProbeResult>(devices.size());
  auto prober = std::make_unique<Prober>(devices, options);
  // Freeing what a kernel uses that never ends would wait for it, or take its memory away.
  const auto retire = [&] {
    if (!prober->ended()) static_cast<void>(prober.release());
  };
  try {
    prober->run();
  } catch (const Error&) {
    retire();
    throw;
  }
  std::vector<ProbeResult> results = prober->results();
  retire();
  return results;
}

}  // namespace tandem
