#include "kernels/add/add_cuda.h"

#include "kernels/map.cuh"

namespace tandem {
namespace {

struct Sum {
  __device__ float operator()(float x, float y) const { return x + y; }
};

}  // namespace

int add_cuda(void* stream, DType dtype, void* x, const void* y, std::int64_t count) {
  return dispatch_activation(dtype, [&]<class T>() {
    T* to = static_cast<T*>(x);
    return launch_map(stream, to, count, Sum{}, to, static_cast<const T*>(y));
  });
}

}  // namespace tandem
