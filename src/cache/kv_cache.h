#pragma once
// One rank's keys and values: pages of a fixed number of tokens, one pair of tensors a layer.

#include <cstdint>
#include <vector>

#include "device/buffer.h"

namespace tandem {

struct KvCacheShape {
  std::int64_t num_pages = 0;
  std::int64_t page_size = 256;  ///< tokens a page
  int num_layers = 0;
  std::int64_t num_kv_heads = 0;  ///< of this rank; may be zero
  std::int64_t head_dim = 0;
};

/// Memory is reserved at once and, on a CPU, taken up as pages are first written.
class KvCache {
 public:
  /// `serial` tells caches apart, one that takes the memory of another too; the same on all ranks.
  KvCache(Device device, DType dtype, const KvCacheShape& shape, std::uint64_t serial = 0);

  std::uint64_t serial() const { return serial_; }

  const KvCacheShape& shape() const { return shape_; }
  std::size_t bytes() const { return buffer_.bytes(); }
  /// [num_pages, page_size, num_kv_heads, head_dim]
  Tensor keys(int layer) const { return keys_[static_cast<std::size_t>(layer)]; }
  Tensor values(int layer) const { return values_[static_cast<std::size_t>(layer)]; }

 private:
  KvCacheShape shape_;
  std::uint64_t serial_;
  Buffer buffer_;
  std::vector<Tensor> keys_;
  std::vector<Tensor> values_;
};

}  // namespace tandem
