// One block a token: bytes are copied as they are, 16 at a time where they are aligned to that.
#include "kernels/append_kv/append_kv_cuda.h"

#include <cuda_runtime.h>

#include "device/cuda/launch.cuh"

namespace tandem {
namespace {

constexpr unsigned kThreads = 256;

template <class Word>
__global__ void append_kv_kernel(Word* k_pages, Word* v_pages, const Word* k, const Word* v, const std::int32_t* slots,
                                 std::int64_t num_slots, std::int64_t row_words) {
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const std::int64_t slot = slots[blockIdx.x];
  if (slot < 0 || slot >= num_slots) return;
  const std::int64_t from = std::int64_t{blockIdx.x} * row_words, to = slot * row_words;
  for (std::int64_t i = threadIdx.x; i < row_words; i += kThreads) {
    const Word key = k[from + i], value = v[from + i];
    k_pages[to + i] = key;
    v_pages[to + i] = value;
  }
}

}  // namespace

int append_kv_cuda(void* stream, void* k_pages, void* v_pages, const void* k, const void* v, const std::int32_t* slots,
                   std::int64_t num_tokens, std::int64_t num_slots, std::size_t row_bytes) {
  const cuda::Grid grid{.blocks = static_cast<unsigned>(num_tokens), .threads = kThreads};
  const auto launch = [&]<class Word>() {
    return cuda::launch(stream, grid, append_kv_kernel<Word>, static_cast<Word*>(k_pages), static_cast<Word*>(v_pages),
                        static_cast<const Word*>(k), static_cast<const Word*>(v), slots, num_slots,
                        static_cast<std::int64_t>(row_bytes / sizeof(Word)));
  };
  std::size_t misaligned = row_bytes;
  for (const void* pointer : {static_cast<const void*>(k_pages), static_cast<const void*>(v_pages), k, v}) {
    misaligned |= reinterpret_cast<std::uintptr_t>(pointer);
  }
  return misaligned % sizeof(uint4) == 0 ? launch.operator()<uint4>() : launch.operator()<std::uint16_t>();
}

}  // namespace tandem
