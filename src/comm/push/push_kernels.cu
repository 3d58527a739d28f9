#include "comm/push/push_kernels.h"

#include "comm/push/cuda_env.cuh"
#include "comm/push/launch.cuh"
#include "comm/push/norm_kernels.h"

namespace tandem {
namespace {

constexpr int kMaxThreads = 512;

/// Runs body(env) as the next call over this block's rings.
template <class Body>
__device__ void call_over_rings(const PushRank& rank, std::uint32_t operation, const Body& body) {
  __shared__ RingCounts counts;
  CudaEnv env(rank, operation, counts);
  if (env.read_counts()) body(env);
}

template <AllReduceAlgorithm kAlgorithm, DType kDType, int kWidth = kAnyWidth>
__global__ void __launch_bounds__(kMaxThreads, 1)
    all_reduce_kernel(const __grid_constant__ PushRank rank, const __grid_constant__ ConstView in,
                      const __grid_constant__ View out, std::uint32_t operation) {
  touch(rank);
  touch(in);
  touch(out);
  overlap_launches();
  const InboxLayout& layout = rank.layout;
  if constexpr (kAlgorithm == AllReduceAlgorithm::kOneShotTagged) {
    CudaEnv env(rank, operation, PacketArea::kOneShotTagged);
    all_reduce_one_shot<TaggedPackets, kDType, kWidth>(env, layout.one_shot_tagged, in, out);
  } else if constexpr (kAlgorithm == AllReduceAlgorithm::kOneShotSentinel) {
    CudaEnv env(rank, operation, PacketArea::kOneShotSentinel);
    all_reduce_one_shot<SentinelPackets, kDType, kWidth>(env, layout.one_shot_sentinel, in, out);
  } else if constexpr (kAlgorithm == AllReduceAlgorithm::kTwoShotSentinel) {
    CudaEnv env(rank, operation, PacketArea::kTwoShotSentinel);
    all_reduce_two_shot<SentinelPackets, kDType>(env, layout.two_shot_sentinel, in, out);
  } else {
    call_over_rings(rank, operation, [&](CudaEnv& env) { ring_all_reduce<BulkChunks, kDType>(env, in, out); });
  }
}

template <MoveAlgorithm kAlgorithm, int kWidth = kAnyWidth>
__global__ void __launch_bounds__(kMaxThreads, 1)
    exchange_kernel(const __grid_constant__ PushRank rank, const __grid_constant__ Exchange exchange,
                    std::uint32_t operation) {
  touch(rank);
  touch(exchange);
  overlap_launches();
  const auto sends_to = [&](int to) { return (exchange.sends_to >> to & 1) != 0; };
  const auto out_of = [&](int from) {
    const bool comes = (exchange.receives_from >> from & 1) != 0;
    return View{exchange.out + exchange.places.begin(from), comes ? exchange.places.bytes(from) : 0};
  };
  if constexpr (kAlgorithm == MoveAlgorithm::kOneShotTagged) {
    CudaEnv env(rank, operation, PacketArea::kOneShotTagged);
    exchange_one_shot<kWidth>(env, rank.layout.one_shot_tagged, exchange.in, sends_to, out_of);
  } else {
    using Form = std::conditional_t<kAlgorithm == MoveAlgorithm::kRingBulk, BulkChunks, TaggedChunks>;
    call_over_rings(rank, operation, [&](CudaEnv& env) { ring_exchange<Form>(env, exchange.in, sends_to, out_of); });
  }
}

template <MoveAlgorithm kAlgorithm, DType kDType, int kWidth = kAnyWidth>
__global__ void __launch_bounds__(kMaxThreads, 1)
    reduce_scatter_kernel(const __grid_constant__ PushRank rank, const __grid_constant__ ReduceScatter arguments,
                          std::uint32_t operation) {
  touch(rank);
  touch(arguments);
  overlap_launches();
  const auto share_of = [&](int r) {
    return ConstView{arguments.in + arguments.places.begin(r), arguments.places.bytes(r)};
  };
  if constexpr (kAlgorithm == MoveAlgorithm::kOneShotTagged) {
    CudaEnv env(rank, operation, PacketArea::kOneShotTagged);
    reduce_scatter_one_shot<kDType, kWidth>(env, rank.layout.one_shot_tagged, share_of, arguments.out);
  } else {
    call_over_rings(rank, operation,
                    [&](CudaEnv& env) { ring_reduce_scatter<BulkChunks, kDType>(env, share_of, arguments.out); });
  }
}

__global__ void fill_kernel(std::uint32_t* out, std::uint32_t word, std::int64_t count) {
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) out[i] = word;
}

template <DType kDType, int kWidth>
auto all_reduce_of(AllReduceAlgorithm algorithm) {
  constexpr bool kFloat = kDType != DType::kI32;
  switch (algorithm) {
    case AllReduceAlgorithm::kOneShotSentinel:
      if constexpr (kFloat) return all_reduce_kernel<AllReduceAlgorithm::kOneShotSentinel, kDType, kWidth>;
      break;
    case AllReduceAlgorithm::kTwoShotSentinel:
      if constexpr (kFloat) return all_reduce_kernel<AllReduceAlgorithm::kTwoShotSentinel, kDType>;
      break;
    case AllReduceAlgorithm::kRingBulk:
      return all_reduce_kernel<AllReduceAlgorithm::kRingBulk, kDType>;
    case AllReduceAlgorithm::kOneShotTagged:
      break;
  }
  return all_reduce_kernel<AllReduceAlgorithm::kOneShotTagged, kDType, kWidth>;
}

template <int kWidth>
auto exchange_of(MoveAlgorithm algorithm) {
  switch (algorithm) {
    case MoveAlgorithm::kRingTagged:
      return exchange_kernel<MoveAlgorithm::kRingTagged>;
    case MoveAlgorithm::kRingBulk:
      return exchange_kernel<MoveAlgorithm::kRingBulk>;
    case MoveAlgorithm::kOneShotTagged:
      break;
  }
  return exchange_kernel<MoveAlgorithm::kOneShotTagged, kWidth>;
}

template <DType kDType, int kWidth>
auto reduce_scatter_of(MoveAlgorithm algorithm) {
  return algorithm == MoveAlgorithm::kOneShotTagged
             ? reduce_scatter_kernel<MoveAlgorithm::kOneShotTagged, kDType, kWidth>
             : reduce_scatter_kernel<MoveAlgorithm::kRingBulk, kDType>;
}

/// choose.operator()<kDType, kWidth>()
template <class Choose>
auto with_dtype_and_width(DType dtype, int world_size, const Choose& choose) {
  const auto with_width = [&]<DType kDType>() {
    return world_size == 2 ? choose.template operator()<kDType, kPairWidth>()
                           : choose.template operator()<kDType, kAnyWidth>();
  };
  switch (dtype) {
    case DType::kF32:
      return with_width.template operator()<DType::kF32>();
    case DType::kF16:
      return with_width.template operator()<DType::kF16>();
    case DType::kBF16:
      return with_width.template operator()<DType::kBF16>();
    default:
      return with_width.template operator()<DType::kI32>();
  }
}

auto all_reduce_of(AllReduceAlgorithm algorithm, DType dtype, int world_size) {
  return with_dtype_and_width(dtype, world_size,
                              [&]<DType kDType, int kWidth>() { return all_reduce_of<kDType, kWidth>(algorithm); });
}

auto reduce_scatter_of(MoveAlgorithm algorithm, DType dtype, int world_size) {
  return with_dtype_and_width(dtype, world_size,
                              [&]<DType kDType, int kWidth>() { return reduce_scatter_of<kDType, kWidth>(algorithm); });
}

auto exchange_of(MoveAlgorithm algorithm, int world_size) {
  return world_size == 2 ? exchange_of<kPairWidth>(algorithm) : exchange_of<kAnyWidth>(algorithm);
}

}  // namespace

int launch_all_reduce(const PushRank& rank, const PushLaunch& launch, AllReduceAlgorithm algorithm, DType dtype,
                      ConstView in, View out) {
  return launch_kernel(all_reduce_of(algorithm, dtype, rank.world_size), launch, rank, in, out, launch.operation);
}

int launch_exchange(const PushRank& rank, const PushLaunch& launch, MoveAlgorithm algorithm, const Exchange& exchange) {
  return launch_kernel(exchange_of(algorithm, rank.world_size), launch, rank, exchange, launch.operation);
}

int launch_reduce_scatter(const PushRank& rank, const PushLaunch& launch, MoveAlgorithm algorithm, DType dtype,
                          const ReduceScatter& reduce_scatter) {
  return launch_kernel(reduce_scatter_of(algorithm, dtype, rank.world_size), launch, rank, reduce_scatter,
                       launch.operation);
}

int launch_fill(void* stream, void* out, std::uint32_t word, std::int64_t count) {
  if (count == 0) return cudaSuccess;
  return cuda::launch(stream, {.blocks = 256, .threads = 256, .overlaps = false}, fill_kernel,
                      static_cast<std::uint32_t*>(out), word, count);
}

int load_push_kernels(int world_size) {
  cudaFuncAttributes attributes;
  int error = cudaSuccess;
  const auto load = [&](auto* kernel) {
    if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, kernel);
  };
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI32}) {
    for (const auto algorithm : {AllReduceAlgorithm::kOneShotTagged, AllReduceAlgorithm::kOneShotSentinel,
                                 AllReduceAlgorithm::kTwoShotSentinel, AllReduceAlgorithm::kRingBulk}) {
      load(all_reduce_of(algorithm, dtype, world_size));
    }
    load(reduce_scatter_of(MoveAlgorithm::kOneShotTagged, dtype, world_size));
    load(reduce_scatter_of(MoveAlgorithm::kRingBulk, dtype, world_size));
  }
  for (const auto algorithm : {MoveAlgorithm::kOneShotTagged, MoveAlgorithm::kRingTagged, MoveAlgorithm::kRingBulk}) {
    load(exchange_of(algorithm, world_size));
  }
  load(fill_kernel);
  return error == cudaSuccess ? load_norm_kernels(world_size) : error;
}

}  // namespace tandem
