#include "comm/push/push_transport.h"

#include <cuda_runtime_api.h>

#include <algorithm>

#include "comm/gpu/gpu_communicator.h"
#include "comm/push/norm_kernels.h"
#include "comm/push/push_group.h"
#include "device/cuda/cuda_check.h"

namespace tandem {
namespace {

ConstView view(ConstTensor tensor) {
  return {static_cast<const std::byte*>(tensor.raw()), static_cast<std::int64_t>(tensor.bytes())};
}
View view(Tensor tensor) {
  return {static_cast<std::byte*>(tensor.raw()), static_cast<std::int64_t>(tensor.bytes())};
}

std::int64_t bytes_of(ConstTensor tensor) {
  return static_cast<std::int64_t>(tensor.bytes());
}

std::int64_t largest_bytes(DType dtype, const Shares& shares, int world_size) {
  std::int64_t most = 0;
  for (int r = 0; r < world_size; ++r) most = std::max(most, shares.count(r));
  return static_cast<std::int64_t>(dtype_bytes(dtype, most));
}

Places places_of(DType dtype, const Shares& shares, int world_size) {
  Places places;
  for (int r = 0; r <= world_size; ++r) {
    places.offsets[r] = static_cast<std::int64_t>(dtype_bytes(dtype, shares.begin(r)));
  }
  return places;
}

class PushTransport final : public GpuTransport {
 public:
  PushTransport(std::string_view backend, const GpuCommunicator& owner, InboxPlace place, const Tuning& tuning)
      : rank_(owner.rank()),
        world_size_(owner.world_size()),
        memory_(std::static_pointer_cast<PushGroup>(owner.group().backend_state(backend, [&] {
          return std::make_shared<PushGroup>(owner.group().options(), owner.shared(), place, tuning);
        }))) {}

  Deadlines deadlines() const override { return Deadlines::kInKernels; }

  void all_reduce(const Stream& stream, Tensor out, ConstTensor x, std::uint32_t operation) override {
    const AllReducePlan plan = plan_all_reduce(memory_->limits(), x.dtype(), bytes_of(x));
    check_cuda(launch_all_reduce(memory_->rank(rank_), launch(stream, plan.blocks, plan.threads, operation),
                                 plan.algorithm, x.dtype(), view(x), view(out)));
  }

  void all_reduce_add_rms_norm(const Stream& stream, Tensor out, ConstTensor x, AddRmsNorm norm,
                               std::uint32_t operation) override {
    const PushLimits& limits = memory_->limits();
    if (!plan_rows(limits, norm.rows, norm.row_packs()))
      return GpuTransport::all_reduce_add_rms_norm(stream, out, x, norm, operation);
    check_cuda(launch_all_reduce_add_norm(memory_->rank(rank_), launch(stream, limits.max_blocks, 0, operation),
                                          x.dtype(), norm));
  }

  void all_gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares,
                  std::uint32_t operation) override {
    Exchange exchange = to_and_from_all(view(shard));
    exchange.out = view(out).data;
    exchange.places = places_of(shard.dtype(), shares, world_size_);
    queue_exchange(
        stream, exchange,
        plan_move(memory_->limits(), Collective::kAllGather, largest_bytes(shard.dtype(), shares, world_size_)),
        operation);
  }

  void reduce_scatter(const Stream& stream, Tensor out, ConstTensor x, const Shares& shares,
                      std::uint32_t operation) override {
    const MovePlan plan =
        plan_move(memory_->limits(), Collective::kReduceScatter, largest_bytes(x.dtype(), shares, world_size_));
    check_cuda(launch_reduce_scatter(memory_->rank(rank_), launch(stream, plan.blocks, plan.threads, operation),
                                     plan.algorithm, x.dtype(),
                                     {view(x).data, places_of(x.dtype(), shares, world_size_), view(out)}));
  }

  void broadcast(const Stream& stream, Tensor x, int root, std::uint32_t operation) override {
    Exchange exchange;
    if (rank_ == root) {
      exchange.in = view(x).as_const();
      exchange.sends_to = all_others();
    } else {
      receive(exchange, root, view(x));
    }
    queue_exchange(stream, exchange, plan_move(memory_->limits(), Collective::kBroadcast, bytes_of(x)), operation);
  }

  void gather(const Stream& stream, Tensor out, ConstTensor shard, const Shares& shares, int root,
              std::uint32_t operation) override {
    Exchange exchange;
    if (rank_ == root) {
      exchange = to_and_from_all(view(shard));
      exchange.sends_to = 0;
      exchange.out = view(out).data;
      exchange.places = places_of(shard.dtype(), shares, world_size_);
    } else {
      exchange.in = view(shard);
      exchange.sends_to = bit(root);
    }
    queue_exchange(stream, exchange,
                   plan_move(memory_->limits(), Collective::kGather, largest_bytes(shard.dtype(), shares, world_size_)),
                   operation);
  }

  void send(const Stream& stream, ConstTensor x, int to, std::uint32_t operation) override {
    Exchange exchange;
    exchange.in = view(x);
    exchange.sends_to = bit(to);
    queue_exchange(stream, exchange, plan_message(memory_->limits(), bytes_of(x)), operation);
  }

  void recv(const Stream& stream, Tensor x, int from, std::uint32_t operation) override {
    Exchange exchange;
    receive(exchange, from, view(x));
    queue_exchange(stream, exchange, plan_message(memory_->limits(), bytes_of(x)), operation);
  }

 private:
  void queue_exchange(const Stream& stream, const Exchange& exchange, const MovePlan& plan, std::uint32_t operation) {
    check_cuda(launch_exchange(memory_->rank(rank_), launch(stream, plan.blocks, plan.threads, operation),
                               plan.algorithm, exchange));
  }

  static PushLaunch launch(const Stream& stream, int blocks, int threads, std::uint32_t operation) {
    return {.stream = stream.cuda_handle(), .blocks = blocks, .threads = threads, .operation = operation};
  }
  static std::uint32_t bit(int r) { return std::uint32_t{1} << r; }
  std::uint32_t all_ranks() const { return (std::uint32_t{1} << world_size_) - 1; }
  std::uint32_t all_others() const { return all_ranks() & ~bit(rank_); }

  Exchange to_and_from_all(ConstView in) const {
    Exchange exchange;
    exchange.in = in;
    exchange.sends_to = all_others();
    exchange.receives_from = all_ranks();
    return exchange;
  }
  static void receive(Exchange& exchange, int from, View out) {
    exchange.receives_from = bit(from);
    exchange.out = out.data;
    exchange.places.offsets[from + 1] = out.bytes;
  }
  static void check_cuda(int error) { TANDEM_CUDA_CALL(static_cast<cudaError_t>(error)); }

  int rank_, world_size_;
  std::shared_ptr<PushGroup> memory_;
};

}  // namespace

std::unique_ptr<GpuTransport> make_p2p_transport(GpuCommunicator& owner, const Tuning& tuning) {
  return std::make_unique<PushTransport>("p2p", owner, InboxPlace::kPeerMemory, tuning);
}

std::unique_ptr<GpuTransport> make_native_transport(GpuCommunicator& owner, const Tuning& tuning) {
  return std::make_unique<PushTransport>("native", owner, InboxPlace::kHostMemory, tuning);
}

void queue_add_rms_norm(const Stream& stream, DType dtype, const AddRmsNorm& norm) {
  TANDEM_CUDA_CALL(static_cast<cudaError_t>(launch_add_rms_norm(stream.cuda_handle(), dtype, norm)));
}

}  // namespace tandem
