#pragma once
// The half of every GPU back-end that is not about bytes: calls are compared on the host as they are queued, waits end,
// and whatever ends the group is named on every rank. What carries the bytes is a GpuTransport; "auto" has several.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/gpu/gpu_group.h"
#include "comm/norm.h"

namespace tandem {

/// Who notices that a call takes longer than the group's timeout.
enum class Deadlines {
  kInKernels,  ///< the kernels: they leave a WaitRecord
  kOnHost,     ///< the rank's thread, while it waits for the stream; the back-end's wake_all() then ends the kernels
};

/// What a back-end queues for one rank, on the rank's own thread. Counts are above 0, the world has more than one rank;
/// `operation` is for WaitRecord.
class GpuTransport {
 public:
  virtual ~GpuTransport() = default;
  virtual Deadlines deadlines() const = 0;
  virtual void all_reduce(const Stream& stream, Tensor out, ConstTensor x, std::uint32_t operation) = 0;
  /// Of norm.x; unless the back-end has a kernel for it, in two steps.
  virtual void all_reduce_add_rms_norm(const Stream& stream, Tensor out, ConstTensor x, AddRmsNorm norm,
                                       std::uint32_t operation) {
    all_reduce(stream, out, x, operation);
    norm.x = norm.out;
    add_rms_norm(stream, x.dtype(), norm);
  }
  virtual void all_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares,
                          std::uint32_t operation) = 0;
  virtual void reduce_scatter(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares,
                              std::uint32_t operation) = 0;
  virtual void broadcast(const Stream& stream, Tensor x, int root, std::uint32_t operation) = 0;
  virtual void gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root,
                      std::uint32_t operation) = 0;
  virtual void send(const Stream& stream, ConstTensor x, int to, std::uint32_t operation) = 0;
  virtual void recv(const Stream& stream, Tensor x, int from, std::uint32_t operation) = 0;
  /// Looked at while the host waits for a stream: throws, or aborts the group, if the back-end has failed by itself.
  virtual void check() {}
};

class GpuCommunicator final : public Communicator {
 public:
  using MakeTransport = std::function<std::unique_ptr<GpuTransport>(GpuCommunicator& rank)>;
  /// The place of the transport for a call of so many bytes, of the whole tensor: the same on all ranks.
  using Route = std::function<std::size_t(Collective op, std::int64_t bytes)>;

  /// Throws as GpuGroup does, and kInvalidArgument for a second communicator of one rank. One transport needs no route.
  GpuCommunicator(const Group& group, int rank, std::string_view backend, const std::vector<MakeTransport>& transports,
                  Route route = {});
  ~GpuCommunicator() override;

  std::string_view backend() const override { return backend_; }

  // For transports.
  GpuGroup& shared() const { return *shared_; }
  int device() const { return shared_->device(rank()); }
  /// Aborts the group if a rank has left that this one needs.
  void check_departures();
  /// Aborts the group because `operation` has taken too long, naming the ranks that have not called it, or whose GPU
  /// has not come to it.
  void abort_late(std::uint32_t operation);
  /// Only in an aborted group. After what is queued on `stream` has left, so that nobody touches the caller's tensors
  /// any more. `call_number`: 0 for the last call.
  [[noreturn]] void throw_cause(const Stream* stream, std::uint32_t call_number = 0);

 private:
  void do_all_reduce(const Stream& stream, Tensor out, ConstTensor x) override;
  void do_all_reduce_add_rms_norm(const Stream& stream, Tensor out, ConstTensor x, const AddRmsNorm& norm) override;
  void do_all_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares) override;
  void do_reduce_scatter(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares) override;
  void do_broadcast(const Stream& stream, Tensor x, int root) override;
  void do_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root) override;
  void do_send(const Stream& stream, ConstTensor x, int to) override;
  void do_recv(const Stream& stream, Tensor x, int from) override;
  void do_barrier() override;
  void do_synchronize(const Stream& stream) override;

  /// Announces a call; throws if the group is dead or others call something else. Returns its operation number.
  std::uint32_t begin(const Stream* stream, Call call);
  /// Whether all ranks that have made call `number` have made this one; ends the group if not.
  bool same_call(const Call& call, std::uint32_t number);
  bool same_message(const Call& call);
  int lost_rank() const;
  /// Of `operation`, which is queued next, and then told to queued(). recv goes where its send goes.
  GpuTransport& transport_for(const Stream& stream, std::uint32_t operation, Collective op, std::size_t bytes);
  void queued(const Stream& stream, const GpuTransport& transport);
  void check_transports();
  void check_words();
  void check_watch(Clock::time_point waiting_since);
  std::vector<int> late_ranks(int at_least, std::uint32_t number) const;

  std::string backend_;
  std::shared_ptr<GpuGroup> shared_;
  bool watches_ = false;  // a transport's deadlines are kept on the host
  Route route_;
  std::vector<std::unique_ptr<GpuTransport>> transports_;
};

}  // namespace tandem
