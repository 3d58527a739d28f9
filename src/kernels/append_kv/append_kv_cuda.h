#pragma once
// append_kv on GPUs. Arguments are checked by the caller.

#include <cstddef>
#include <cstdint>

namespace tandem {

/// Returns a cudaError_t. A token's keys are `row_bytes` bytes, an even number; so are its values.
int append_kv_cuda(void* stream, void* k_pages, void* v_pages, const void* k, const void* v, const std::int32_t* slots,
                   std::int64_t num_tokens, std::int64_t num_slots, std::size_t row_bytes);

}  // namespace tandem
