#pragma once
// The coarse interface that every communication back-end serves, and the way to get one.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/group.h"
#include "device/device.h"
#include "device/stream.h"
#include "device/tensor.h"

namespace tandem {

struct AddRmsNorm;
class TraceSpan;
enum class Collective : std::uint8_t;

/// How the elements of one tensor are dealt to the ranks: contiguous, in rank order.
struct Shares {
  std::array<std::int64_t, kMaxWorldSize + 1> offsets{};  ///< rank r has elements [offsets[r], offsets[r + 1])
  bool equal = true;                                      ///< every rank has as many
  std::int64_t begin(int rank) const { return offsets[static_cast<std::size_t>(rank)]; }
  std::int64_t count(int rank) const { return begin(rank + 1) - begin(rank); }
};

/// One rank's end of a fixed group. All ranks call the same collectives in the same order, with the same dtype, counts
/// and root; where they do not, all get an Error that says who called what. Calls queue work on `stream` and return. A
/// rank that waits past the group's timeout gets an Error naming the peer, and so do all others; from then on the group
/// is dead and every call throws its first cause. Use from the rank's own thread. Destroying it takes the rank out of
/// the group: peers that still need it get kPeerLost.
///
/// Tensors are contiguous, of a plain dtype, on the stream's device; any count, zero included. Sums (f32, f16, bf16,
/// i32) have the same bits on every rank; the back-end's page states their precision. i32 is exact, modulo 2^32.
/// `out` is disjoint from the input or, in place, exactly where that input lies in it (or it in the input).
/// Calls that do not fit (shape, dtype, device, root, overlap) throw kInternal before any peer is involved.
///
/// The public functions check and normalise; back-ends implement the private ones, which see only correct arguments.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  virtual std::string_view backend() const = 0;  ///< "auto" (of GPUs) | "p2p" | "nccl" | "native" | "cpu"
  int rank() const { return rank_; }
  int world_size() const { return group_.world_size(); }
  const Group& group() const { return group_; }

  /// x <- sum of x over all ranks, in place.
  void all_reduce(const Stream& stream, Tensor x) { all_reduce(stream, x, x); }
  /// out <- sum of x over all ranks.
  void all_reduce(const Stream& stream, Tensor out, ConstTensor x);

  /// residual <- residual + sum of x over all ranks; out <- residual / sqrt(mean(residual^2) + epsilon) * weight, row
  /// by row. x, residual and out [rows..., columns], weight [columns], all of one float dtype; the sum, the residual
  /// and the result are rounded to it. `out` may be x and nothing else overlaps. For a few rows, p2p and native do it
  /// in one kernel.
  void all_reduce_add_rms_norm(const Stream& stream, Tensor out, Tensor residual, ConstTensor x, ConstTensor weight,
                               float epsilon);

  /// out [world_size, shard...] <- the shards in rank order. In place: shard is its own place in out.
  void all_gather(const Stream& stream, Tensor out, ConstTensor shard);
  /// Ragged: rank r brings counts[r] elements, perhaps none.
  void all_gather(const Stream& stream, Tensor out, ConstTensor shard, std::span<const std::int64_t> counts);

  /// out <- this rank's share of the sum of x [world_size, out...]. In place: out is its own place in x.
  void reduce_scatter(const Stream& stream, Tensor out, ConstTensor x);
  /// Ragged: rank r gets counts[r] elements, perhaps none.
  void reduce_scatter(const Stream& stream, Tensor out, ConstTensor x, std::span<const std::int64_t> counts);

  /// x <- x of rank `root`.
  void broadcast(const Stream& stream, Tensor x, int root);

  /// On `root`: out [world_size, shard...] <- the shards in rank order. Elsewhere `out` is ignored.
  void gather(const Stream& stream, Tensor out, ConstTensor shard, int root);
  void gather(const Stream& stream, Tensor out, ConstTensor shard, std::span<const std::int64_t> counts, int root);

  /// x to rank `to`, in the order of calls between these two ranks. May wait for the matching recv, so two ranks that
  /// exchange data must not both send first.
  void send(const Stream& stream, ConstTensor x, int to);
  void recv(const Stream& stream, Tensor x, int from);

  /// On the host: returns once every rank is here. Does not wait for what is queued on streams.
  void barrier();

  /// Waits for all that is queued on `stream`. Throws the group's first cause if one of its collectives failed there:
  /// on GPUs calls return before they have run, and until this returns their results are not to be trusted.
  void synchronize(const Stream& stream);

 protected:
  /// Throws kInvalidArgument for a rank outside the group.
  Communicator(const Group& group, int rank);

  /// A line of the log of calls, level kTrace, in the name of this rank, whatever the caller's thread is known as.
  void log_call(Device device, const std::string& text) const;

 private:
  virtual void do_all_reduce(const Stream& stream, Tensor out, ConstTensor x) = 0;
  /// `norm` holds the same x and out.
  virtual void do_all_reduce_add_rms_norm(const Stream& stream, Tensor out, ConstTensor x, const AddRmsNorm& norm) = 0;
  virtual void do_all_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares) = 0;
  virtual void do_reduce_scatter(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares) = 0;
  virtual void do_broadcast(const Stream& stream, Tensor x, int root) = 0;
  virtual void do_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root) = 0;
  virtual void do_send(const Stream& stream, ConstTensor x, int to) = 0;
  virtual void do_recv(const Stream& stream, Tensor x, int from) = 0;
  virtual void do_barrier() = 0;
  virtual void do_synchronize(const Stream& stream) = 0;

  /// A call as a span of the trace. On GPUs it ends when the call is queued, and is named so.
  TraceSpan trace(Collective op, bool queued, std::size_t bytes) const;
  Shares equal_shares(std::int64_t count) const;
  Shares ragged_shares(std::string_view what, std::span<const std::int64_t> counts) const;
  void check_peer(std::string_view what, int peer) const;
  void gather_checked(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root);
  void all_gather_checked(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares);
  void reduce_scatter_checked(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares);

  Group group_;
  int rank_;
};

/// Rank `rank`'s end of `group`; every rank makes its own, once. "auto" is the fastest of those that can serve, for
/// each operation and size (trust/choice.h): the choice is made once a group, from GroupOptions::machine or what the
/// process finds out about its GPUs (known_machine.h; seconds, once a process), and logged with its reasons. A name is
/// forced: no back-end falls back by itself, and p2p serves only where every link has passed its probe. Throws
/// kInvalidArgument for an unknown name (listing the known ones) and kUnsupported when the back-end cannot serve here
/// (with each reason, and those that can).
std::unique_ptr<Communicator> make_communicator(std::string_view backend, const Group& group, int rank);

/// All that there are, best first: "p2p", "nccl", "native", "cpu". Not every build and machine has each.
const std::vector<std::string>& backend_names();

struct BackendStatus {
  std::string name;
  bool works = false;
  std::string reason = {};  ///< why not: a code that stays, "no-peer-access"; see trust/choice.h
  std::string detail = {};  ///< why not: a sentence; of one that works, its version where it has one
};
/// Every back-end, best first, for a group of these devices. Of peer access this is the driver's word:
/// check_p2p_connectivity() verifies it. No devices, too many, GPUs beside CPUs or GPUs that are not there: none works,
/// for the reason "no-group".
std::vector<BackendStatus> get_backend_status(std::span<const Device> devices);

/// The names of those that work.
std::vector<std::string> get_available_backends(std::span<const Device> devices);

}  // namespace tandem
