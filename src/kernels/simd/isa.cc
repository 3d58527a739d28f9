#include "kernels/simd/isa.h"

#include <algorithm>
#include <atomic>

namespace tandem {
namespace {

Isa detect() {
#if TANDEM_X86_VARIANTS
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")
               ? Isa::kAvx512
               : Isa::kAvx2;
  }
#endif
  return Isa::kBaseline;
}

std::atomic<Isa> isa_limit{Isa::kAvx512};

}  // namespace

Isa cpu_isa() {
  static const Isa detected = detect();
  return std::min(detected, isa_limit.load(std::memory_order_relaxed));
}

void limit_isa_for_test(Isa limit) {
  isa_limit.store(limit, std::memory_order_relaxed);
}

}  // namespace tandem
