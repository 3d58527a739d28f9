#include "kernels/softcap/softcap_cuda.h"

#include "kernels/map.cuh"

namespace tandem {
namespace {

struct Softcap {
  float cap;
  __device__ float operator()(float x) const { return cap * tanhf(x / cap); }
};

}  // namespace

int softcap_cuda(void* stream, float* x, std::int64_t count, float cap) {
  return launch_map(stream, x, count, Softcap{cap}, x);
}

}  // namespace tandem
