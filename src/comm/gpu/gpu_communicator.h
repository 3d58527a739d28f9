#pragma once
// The half of every GPU back-end that is not about bytes: calls are compared on the host as they are queued, waits end,
// and whatever ends the group is named on every rank.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "comm/communicator.h"
#include "comm/gpu/call_watch.h"
#include "comm/gpu/gpu_group.h"

namespace tandem {

/// Who notices that a call takes longer than the group's timeout.
enum class Deadlines {
  kInKernels,  ///< the kernels: they leave a WaitRecord
  kOnHost,     ///< the rank's thread, while it waits for the stream; the back-end's wake_all() then ends the kernels
};

class GpuCommunicator : public Communicator {
 public:
  ~GpuCommunicator() override;

 protected:
  /// Throws as GpuGroup does, and kInvalidArgument for a second communicator of one rank.
  GpuCommunicator(const Group& group, int rank, Deadlines deadlines);
  GpuGroup& shared() const { return *shared_; }
  int device() const { return shared_->device(rank()); }

  /// Tells the peers that this rank makes no more calls. For destructors of back-ends that take their time.
  void depart();
  /// Aborts the group if a rank has left that this one needs.
  void check_departures();
  /// Aborts the group because `operation` has taken too long, naming the ranks that have not come to it.
  void abort_late(std::uint32_t operation);
  /// Only in an aborted group. After what is queued on `stream` has left, so that nobody touches the caller's tensors
  /// any more. `call_number`: 0 for the last call.
  [[noreturn]] void throw_cause(const Stream* stream, std::uint32_t call_number = 0);

 private:
  // What a back-end queues. Counts are above 0, the world has more than one rank; `operation` is for WaitRecord.
  virtual void queue_all_reduce(const Stream& stream, Tensor out, ConstTensor x, std::uint32_t operation) = 0;
  virtual void queue_all_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares,
                                std::uint32_t operation) = 0;
  virtual void queue_reduce_scatter(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares,
                                    std::uint32_t operation) = 0;
  virtual void queue_broadcast(const Stream& stream, Tensor x, int root, std::uint32_t operation) = 0;
  virtual void queue_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root,
                            std::uint32_t operation) = 0;
  virtual void queue_send(const Stream& stream, ConstTensor x, int to, std::uint32_t operation) = 0;
  virtual void queue_recv(const Stream& stream, Tensor x, int from, std::uint32_t operation) = 0;
  /// Looked at while the host waits for a stream: throws, or aborts the group, if the back-end has failed by itself.
  virtual void check_backend() {}

  void do_all_reduce(const Stream& stream, Tensor out, ConstTensor x) final;
  void do_all_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares) final;
  void do_reduce_scatter(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares) final;
  void do_broadcast(const Stream& stream, Tensor x, int root) final;
  void do_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root) final;
  void do_send(const Stream& stream, ConstTensor x, int to) final;
  void do_recv(const Stream& stream, Tensor x, int from) final;
  void do_barrier() final;
  void do_synchronize(const Stream& stream) final;

  /// Announces a call; throws if the group is dead or others call something else. Returns its operation number.
  std::uint32_t begin(const Stream* stream, const Call& call);
  /// Whether all ranks that have made call `number` have made this one; ends the group if not.
  bool same_call(const Call& call, std::uint32_t number);
  bool same_message(const Call& call);
  int lost_rank() const;
  void watch(const Stream& stream, std::uint32_t operation);
  void check_words();
  void check_watch(Clock::time_point waiting_since);
  std::string late_ranks(int at_least, std::uint32_t number) const;

  std::shared_ptr<GpuGroup> shared_;
  std::optional<CallWatch> watch_;  // if deadlines are kept on the host
};

}  // namespace tandem
