#pragma once
// softcap on GPUs. Arguments are checked by the caller.

#include <cstdint>

namespace tandem {

/// Returns a cudaError_t.
int softcap_cuda(void* stream, float* x, std::int64_t count, float cap);

}  // namespace tandem
