#pragma once
// What all ranks of one communicator share: its size, its deadline, and the first cause of its end.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "comm/group_size.h"
#include "device/device.h"
#include "tandem/error.h"

namespace tandem {

struct MachineSnapshot;

struct GroupOptions {
  int world_size = 1;                                           ///< 1 to kMaxWorldSize
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);  ///< of every wait for a peer; above 0, at most a day
  std::vector<Device> devices = {};                             ///< by rank; empty: CPUs
  bool shared_devices = false;  ///< ranks may share a GPU, for tests of many ranks on few
  /// What back-ends are chosen and trusted by; null: what this process finds out about the devices, once.
  std::shared_ptr<const MachineSnapshot> machine = nullptr;
  std::int64_t inbox_bytes = 0;  ///< of each rank, in p2p and native: see plan_rooms; 0: chosen
  int num_threads = 0;  ///< that work for the ranks, all together; 0: one a rank. Ranks poll only if all have a core
  std::uint32_t first_generation =
      0;  ///< where call counters start; calls are reported from 1. Tests start at the wrap.
};

/// What the ranks of a group share inside one back-end.
class BackendState {
 public:
  virtual ~BackendState() = default;
  /// The group was aborted: wakes every waiting rank. Called once, by any thread.
  virtual void wake_all() noexcept = 0;
};

/// A handle: copies name the same group. Every member may be called by any thread.
class Group {
 public:
  /// Throws kInvalidArgument for a world size or a timeout out of range.
  explicit Group(const GroupOptions& options);

  const GroupOptions& options() const;
  int world_size() const { return options().world_size; }

  /// Ends the group: every rank that waits, and every later call, throws the first cause, which names `rank` (-1: the
  /// abort came from outside the ranks). Takes locks and memory: for a thread that handles a signal, not for the
  /// handler.
  ///   kPeerLost   "rank 1 failed: <reason>"; from outside <reason>
  ///   kCancelled  "cancelled by rank 1: <reason>"; from outside "cancelled: <reason>"
  ///   else        <reason>, which then names the ranks itself
  /// Returns whether this was the first cause.
  bool abort(int rank, std::string_view reason, ErrorKind kind, std::string_view hint = {}) const;
  bool aborted() const noexcept;
  /// Throws the first cause; `where`, if any, is added as a line of its own. Only after an abort.
  [[noreturn]] void throw_cause(std::string_view where = {}) const;

  /// For back-ends: the state of `backend` in this group, made by the first caller.
  std::shared_ptr<BackendState> backend_state(std::string_view backend,
                                              const std::function<std::shared_ptr<BackendState>()>& make) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tandem
