#include "comm/push/probe_kernels.h"

#include "comm/push/cuda_env.cuh"
#include "device/cuda/launch.cuh"

namespace tandem {
namespace {

constexpr int kMaxThreads = 512;

/// Breaks what goes to one rank.
class FaultyEnv : public CudaEnv {
 public:
  __device__ FaultyEnv(const PushRank& rank, const ProbeFault& fault) : CudaEnv(rank), fault_(fault) {}

  __device__ void put_halves(const Area& area, int to, int slot, std::int64_t index, Pack pack) {
    if (passes(area, to, slot, index, pack)) CudaEnv::put_halves(area, to, slot, index, pack);
  }
  __device__ void put_words(const Area& area, int to, int slot, std::int64_t index, Pack pack) {
    if (passes(area, to, slot, index, pack)) CudaEnv::put_words(area, to, slot, index, pack);
  }
  // What a lane does after the flag of its chunk has been raised.
  __device__ Pack get_halves(const Area& area, int slot, std::int64_t index) {
    release();
    return CudaEnv::get_halves(area, slot, index);
  }
  __device__ Pack get_words(const Area& area, int slot, std::int64_t index) {
    release();
    return CudaEnv::get_words(area, slot, index);
  }
  __device__ std::uint32_t word(std::int64_t index) {
    release();
    return CudaEnv::word(index);
  }
  __device__ void sync_block() { CudaEnv::sync_block(); }
  __device__ bool sync_block(bool ok) {
    release();
    return CudaEnv::sync_block(ok);
  }
  /// Sends the pack that is held back.
  __device__ void release() {
    if (held_to_ < 0) return;
    __nanosleep(20'000);
    CudaEnv::put_words(held_area_, held_to_, held_slot_, held_index_, held_);
    held_to_ = -1;
  }

 private:
  __device__ bool passes(const Area& area, int to, int slot, std::int64_t index, Pack& pack) {
    if (to != fault_.to) return true;
    const std::uint64_t chance = mix_bits(static_cast<std::uint64_t>(lane()) << 32 | ++puts_);
    if (chance % fault_.one_in != 0) return true;
    if (fault_.kind == ProbeFault::Kind::kDrop) return false;
    if (fault_.kind == ProbeFault::Kind::kFlip) {
      pack.words[0] ^= std::uint32_t{1} << (chance >> 32 & 31);
      return true;
    }
    release();
    held_area_ = area;
    held_to_ = to;
    held_slot_ = slot;
    held_index_ = index;
    held_ = pack;
    return false;
  }

  ProbeFault fault_;
  std::uint32_t puts_ = 0;
  Area held_area_;
  int held_to_ = -1, held_slot_ = 0;
  std::int64_t held_index_ = 0;
  Pack held_{};
};

__global__ void __launch_bounds__(kMaxThreads, 1)
    probe_kernel(const __grid_constant__ PushRank rank, const __grid_constant__ ProbePlan plan, ProbeReport* reports) {
  CudaEnv env(rank);
  probe_links(env, plan, reports);
}

__global__ void __launch_bounds__(kMaxThreads, 1)
    faulty_probe_kernel(const __grid_constant__ PushRank rank, const __grid_constant__ ProbePlan plan,
                        const __grid_constant__ ProbeFault fault, ProbeReport* reports) {
  FaultyEnv env(rank, fault);
  probe_links(env, plan, reports);
  env.release();
}

__global__ void ping_pong_kernel(const __grid_constant__ PushRank rank, const __grid_constant__ ProbePlan plan,
                                 int peer, double* nanoseconds) {
  CudaEnv env(rank);
  ProbePlan warm_up = plan;
  warm_up.rounds = kWarmUpRounds;
  ProbePlan timed = plan;
  timed.first_round = warm_up.end();
  if (!ping_pong(env, warm_up, peer)) return;
  const std::uint64_t begin = global_nanoseconds();
  if (!ping_pong(env, timed, peer)) return;
  *nanoseconds = static_cast<double>(global_nanoseconds() - begin) / (2.0 * plan.rounds);
}

__global__ void __launch_bounds__(kMaxThreads, 1)
    push_load_kernel(const __grid_constant__ PushRank rank, int to, const __grid_constant__ Area area, int passes) {
  CudaEnv env(rank);
  const auto first = static_cast<std::uint32_t>(env.lane());
  for (int pass = 0; pass < passes; ++pass) {
    for (std::int64_t i = env.lane(); i < area.slot_packets; i += env.num_lanes()) {
      env.put_words(area, to, 0, i, Pack{{first, first, first, static_cast<std::uint32_t>(pass)}});
    }
  }
}

/// These kernels do not overlap with others.
cuda::Grid grid_of(const PushLaunch& launch) {
  return {.blocks = static_cast<unsigned>(launch.blocks),
          .threads = static_cast<unsigned>(launch.threads),
          .overlaps = false};
}

}  // namespace

int launch_probe(const PushRank& rank, const PushLaunch& launch, const ProbePlan& plan, const ProbeFault& fault,
                 ProbeReport* reports) {
  if (fault.kind == ProbeFault::Kind::kNone) {
    return cuda::launch(launch.stream, grid_of(launch), probe_kernel, rank, plan, reports);
  }
  return cuda::launch(launch.stream, grid_of(launch), faulty_probe_kernel, rank, plan, fault, reports);
}

int launch_ping_pong(const PushRank& rank, void* stream, const ProbePlan& plan, int peer, double* nanoseconds) {
  return cuda::launch(stream, grid_of({.threads = 1}), ping_pong_kernel, rank, plan, peer, nanoseconds);
}

int launch_push_load(const PushRank& rank, const PushLaunch& launch, int to, const Area& area, int passes) {
  return cuda::launch(launch.stream, grid_of(launch), push_load_kernel, rank, to, area, passes);
}

int load_probe_kernels() {
  cudaFuncAttributes attributes;
  int error = cudaFuncGetAttributes(&attributes, probe_kernel);
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, faulty_probe_kernel);
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, ping_pong_kernel);
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, push_load_kernel);
  return error;
}

}  // namespace tandem
