#include "comm/push/push_kernels.h"

#include "comm/push/cuda_env.cuh"

namespace tandem {
namespace {

constexpr int kMaxThreads = 512;

/// Reads a kernel argument, a word of each line of 64 bytes: the first read of a line comes from far away, and here it
/// does so while the kernel before this one ends.
template <class T>
__device__ void touch(const T& argument) {
  const auto* words = reinterpret_cast<const std::uint64_t*>(&argument);
#pragma unroll
  for (std::size_t i = 0; i < sizeof(T) / sizeof(*words); i += 8) asm volatile("" ::"l"(words[i]));
}

/// Runs body(env) as the next call in a packet area and counts it.
template <class Body>
__device__ void call_in_area(const PushRank& rank, std::uint32_t operation, PacketArea which, std::int64_t num_packs,
                             const Body& body) {
  DeviceWords::Area& area = rank.words->areas[static_cast<int>(which)];
  const std::uint32_t poison = load_relaxed(&rank.words->poison);
  const std::uint64_t calls = *const_cast<volatile std::uint64_t*>(&area.progress) >> kProgressBits;
  // Generation 1 follows 0, which is "never", and kLastGeneration.
  const auto generation = static_cast<std::uint32_t>((calls < kLastGeneration ? calls : calls % kLastGeneration) + 1);
  const std::int64_t last_num_packs = area.num_packs[calls & 1];
  __syncthreads();  // all threads of the block have read
  if (threadIdx.x == 0) {
    const PackShares parts{std::int64_t{1} << kProgressBits, static_cast<int>(gridDim.x)};
    atomicAdd(reinterpret_cast<unsigned long long*>(&area.progress),
              static_cast<unsigned long long>(parts.count(static_cast<int>(blockIdx.x))));
    if (blockIdx.x == 0) area.num_packs[(calls + 1) & 1] = num_packs;
  }
  CudaEnv env(rank, operation, generation, last_num_packs);
  if (poison == 0) {
    body(env);
  } else {
    env.leave();
  }
}

/// Runs body(env) as the next call over this block's rings.
template <class Body>
__device__ void call_over_rings(const PushRank& rank, std::uint32_t operation, const Body& body) {
  __shared__ RingCounts counts;
  CudaEnv env(rank, operation, counts);
  if (env.read_counts()) body(env);
}

template <AllReduceAlgorithm kAlgorithm, DType kDType>
__global__ void __launch_bounds__(kMaxThreads, 1)
    all_reduce_kernel(const __grid_constant__ PushRank rank, const __grid_constant__ ConstView in,
                      const __grid_constant__ View out, std::uint32_t operation) {
  const InboxLayout& layout = rank.layout;
  const Area& area = kAlgorithm == AllReduceAlgorithm::kOneShotTagged     ? layout.one_shot_tagged
                     : kAlgorithm == AllReduceAlgorithm::kOneShotSentinel ? layout.one_shot_sentinel
                                                                          : layout.two_shot_sentinel;
  touch(rank);
  touch(in);
  touch(out);
  overlap_launches();
  if constexpr (kAlgorithm == AllReduceAlgorithm::kOneShotTagged) {
    call_in_area(rank, operation, PacketArea::kOneShotTagged, in.num_packs(),
                 [&](CudaEnv& env) { all_reduce_one_shot<TaggedPackets, kDType>(env, area, in, out); });
  } else if constexpr (kAlgorithm == AllReduceAlgorithm::kOneShotSentinel) {
    call_in_area(rank, operation, PacketArea::kOneShotSentinel, in.num_packs(),
                 [&](CudaEnv& env) { all_reduce_one_shot<SentinelPackets, kDType>(env, area, in, out); });
  } else if constexpr (kAlgorithm == AllReduceAlgorithm::kTwoShotSentinel) {
    call_in_area(rank, operation, PacketArea::kTwoShotSentinel, in.num_packs(),
                 [&](CudaEnv& env) { all_reduce_two_shot<SentinelPackets, kDType>(env, area, in, out); });
  } else {
    call_over_rings(rank, operation, [&](CudaEnv& env) { ring_all_reduce<BulkChunks, kDType>(env, in, out); });
  }
}

template <class Form>
__global__ void __launch_bounds__(kMaxThreads, 1)
    exchange_kernel(const __grid_constant__ PushRank rank, const __grid_constant__ Exchange exchange,
                    std::uint32_t operation) {
  touch(rank);
  touch(exchange);
  overlap_launches();
  call_over_rings(rank, operation, [&](CudaEnv& env) {
    ring_exchange<Form>(
        env, exchange.in, [&](int to) { return (exchange.sends_to >> to & 1) != 0; },
        [&](int from) {
          const bool comes = (exchange.receives_from >> from & 1) != 0;
          return View{exchange.out + exchange.places.begin(from), comes ? exchange.places.bytes(from) : 0};
        });
  });
}

template <class Form, DType kDType>
__global__ void __launch_bounds__(kMaxThreads, 1)
    reduce_scatter_kernel(const __grid_constant__ PushRank rank, const __grid_constant__ ReduceScatter arguments,
                          std::uint32_t operation) {
  touch(rank);
  touch(arguments);
  overlap_launches();
  const auto share_of = [&](int r) {
    return ConstView{arguments.in + arguments.places.begin(r), arguments.places.bytes(r)};
  };
  call_over_rings(rank, operation,
                  [&](CudaEnv& env) { ring_reduce_scatter<Form, kDType>(env, share_of, arguments.out); });
}

__global__ void fill_kernel(std::uint32_t* out, std::uint32_t word, std::int64_t count) {
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) out[i] = word;
}

template <class... Parameters, class... Arguments>
int launch_kernel(void (*kernel)(Parameters...), const PushLaunch& launch, const Arguments&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(launch.blocks));
  config.blockDim = dim3(static_cast<unsigned>(launch.threads));
  config.stream = static_cast<cudaStream_t>(launch.stream);
  // Also in eager mode: 0.3 us less a call on H200s.
  cudaLaunchAttribute programmatic{};
  programmatic.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  programmatic.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &programmatic;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

template <DType kDType>
auto all_reduce_of(AllReduceAlgorithm algorithm) {
  constexpr bool kFloat = kDType != DType::kI32;
  switch (algorithm) {
    case AllReduceAlgorithm::kOneShotSentinel:
      if constexpr (kFloat) return all_reduce_kernel<AllReduceAlgorithm::kOneShotSentinel, kDType>;
      break;
    case AllReduceAlgorithm::kTwoShotSentinel:
      if constexpr (kFloat) return all_reduce_kernel<AllReduceAlgorithm::kTwoShotSentinel, kDType>;
      break;
    case AllReduceAlgorithm::kRingBulk:
      return all_reduce_kernel<AllReduceAlgorithm::kRingBulk, kDType>;
    case AllReduceAlgorithm::kOneShotTagged:
      break;
  }
  return all_reduce_kernel<AllReduceAlgorithm::kOneShotTagged, kDType>;
}

template <DType kDType>
auto reduce_scatter_of(bool bulk) {
  return bulk ? reduce_scatter_kernel<BulkChunks, kDType> : reduce_scatter_kernel<TaggedChunks, kDType>;
}

auto all_reduce_of(AllReduceAlgorithm algorithm, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return all_reduce_of<DType::kF32>(algorithm);
    case DType::kF16:
      return all_reduce_of<DType::kF16>(algorithm);
    case DType::kBF16:
      return all_reduce_of<DType::kBF16>(algorithm);
    default:
      return all_reduce_of<DType::kI32>(algorithm);
  }
}

auto reduce_scatter_of(bool bulk, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return reduce_scatter_of<DType::kF32>(bulk);
    case DType::kF16:
      return reduce_scatter_of<DType::kF16>(bulk);
    case DType::kBF16:
      return reduce_scatter_of<DType::kBF16>(bulk);
    default:
      return reduce_scatter_of<DType::kI32>(bulk);
  }
}

}  // namespace

int launch_all_reduce(const PushRank& rank, const PushLaunch& launch, AllReduceAlgorithm algorithm, DType dtype,
                      ConstView in, View out) {
  return launch_kernel(all_reduce_of(algorithm, dtype), launch, rank, in, out, launch.operation);
}

int launch_exchange(const PushRank& rank, const PushLaunch& launch, bool bulk, const Exchange& exchange) {
  return launch_kernel(bulk ? exchange_kernel<BulkChunks> : exchange_kernel<TaggedChunks>, launch, rank, exchange,
                       launch.operation);
}

int launch_reduce_scatter(const PushRank& rank, const PushLaunch& launch, bool bulk, DType dtype,
                          const ReduceScatter& reduce_scatter) {
  return launch_kernel(reduce_scatter_of(bulk, dtype), launch, rank, reduce_scatter, launch.operation);
}

int launch_fill(void* stream, void* out, std::uint32_t word, std::int64_t count) {
  if (count == 0) return cudaSuccess;
  fill_kernel<<<256, 256, 0, static_cast<cudaStream_t>(stream)>>>(static_cast<std::uint32_t*>(out), word, count);
  return cudaGetLastError();
}

int load_push_kernels() {
  cudaFuncAttributes attributes;
  int error = cudaSuccess;
  const auto load = [&](auto* kernel) {
    if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, kernel);
  };
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI32}) {
    for (const auto algorithm : {AllReduceAlgorithm::kOneShotTagged, AllReduceAlgorithm::kOneShotSentinel,
                                 AllReduceAlgorithm::kTwoShotSentinel, AllReduceAlgorithm::kRingBulk}) {
      load(all_reduce_of(algorithm, dtype));
    }
    for (const bool bulk : {false, true}) load(reduce_scatter_of(bulk, dtype));
  }
  load(exchange_kernel<TaggedChunks>);
  load(exchange_kernel<BulkChunks>);
  load(fill_kernel);
  return error;
}

}  // namespace tandem
