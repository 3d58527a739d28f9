#pragma once
// Ranks as threads of this process: hands one function to all of them, again and again.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "device/stream.h"

namespace tandem {

struct RankTeamOptions {
  int world_size = 1;
  int threads_per_rank = 1;  ///< of each rank's CPU stream
  std::string backend = "cpu";
  std::vector<Device> devices = {};                             ///< by rank; empty: CPUs
  bool shared_devices = false;                                  ///< see GroupOptions
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);  ///< of every wait for a peer inside a collective
  std::shared_ptr<const MachineSnapshot> machine = nullptr;     ///< see GroupOptions
  std::int64_t inbox_bytes = 0;                                 ///< see GroupOptions
};

/// What a rank works with; valid during one run.
struct RankContext {
  int rank;
  int world_size;
  Stream& stream;
  Communicator& comm;
};

/// Owns the threads of ranks 1 to world_size - 1 and every rank's stream and communicator. Rank 0 works on the thread
/// that calls run(), which saves two hand-overs and costs nothing at world size 1. A rank's GPU is made its thread's
/// current one, rank 0's that of the caller. run() and rebuild() belong to one
/// thread at a time; abort() may be called by any thread at any time.
class RankTeam {
 public:
  /// Throws as Group and make_communicator do.
  explicit RankTeam(const RankTeamOptions& options);
  ~RankTeam();
  RankTeam(const RankTeam&) = delete;
  RankTeam& operator=(const RankTeam&) = delete;

  int world_size() const;

  /// Calls body on every rank and returns when all are done. If a rank throws, the group is aborted, so that the others
  /// leave their collectives, and the first cause is thrown here: that rank's exception itself, or the group's Error.
  /// After that, run() throws the group's Error until rebuild(). A body that works long without collectives should look
  /// at comm.group().aborted(); run() has to wait for it, and after an abort logs whom it waits for,
  /// once in its timeout, but not more often than each second.
  void run(const std::function<void(RankContext&)>& body);

  /// Cancels the run in progress, or the next: it throws kCancelled with `reason`.
  void abort(std::string_view reason);

  /// Whether run() throws until rebuild(). Any thread.
  bool aborted() const;

  /// A new group in place of a broken one; threads and streams stay.
  void rebuild();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem
