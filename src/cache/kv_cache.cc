#include "cache/kv_cache.h"

#include "base/checked_math.h"
#include "base/error.h"

namespace tandem {
namespace {

std::size_t round_up_to_64(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

std::size_t tensor_bytes(DType dtype, const KvCacheShape& shape) {
  std::int64_t elements = shape.num_pages;
  for (const std::int64_t factor : {shape.page_size, shape.num_kv_heads, shape.head_dim}) {
    const auto product = checked_mul(elements, factor);
    // 2^44 values: no cache of one layer is larger, and the bytes of 10 000 layers, the most there are, fit in 64 bits.
    if (!product || *product > (std::int64_t{1} << 44)) {
      fail(ErrorKind::kOutOfMemory, "a KV cache of {} pages of {} tokens is too large", shape.num_pages,
           shape.page_size);
    }
    elements = *product;
  }
  return round_up_to_64(dtype_bytes(dtype, elements));
}

}  // namespace

KvCache::KvCache(Device device, DType dtype, const KvCacheShape& shape, std::uint64_t serial)
    : shape_(shape),
      serial_(serial),
      buffer_(device, 2 * static_cast<std::size_t>(shape.num_layers) * tensor_bytes(dtype, shape)) {
  const Shape tensor_shape{shape.num_pages, shape.page_size, shape.num_kv_heads, shape.head_dim};
  const std::size_t step = tensor_bytes(dtype, shape);
  for (std::size_t layer = 0; layer < static_cast<std::size_t>(shape.num_layers); ++layer) {
    keys_.push_back(buffer_.tensor(dtype, tensor_shape, 2 * layer * step));
    values_.push_back(buffer_.tensor(dtype, tensor_shape, (2 * layer + 1) * step));
  }
}

}  // namespace tandem
