#pragma once
// Which pages of the KV cache are free. The same page numbers hold on every rank.

#include <cstdint>
#include <optional>
#include <vector>

namespace tandem {

/// Belongs to the scheduler's thread.
class PageAllocator {
 public:
  explicit PageAllocator(std::int64_t num_pages);

  std::int64_t num_pages() const { return static_cast<std::int64_t>(used_.size()); }
  std::int64_t num_free() const { return static_cast<std::int64_t>(free_.size()); }
  /// nullopt when none is free.
  std::optional<std::int32_t> allocate();
  /// Throws kInternal for a page that is not in use.
  void release(std::int32_t page);

 private:
  std::vector<std::int32_t> free_;  // the lowest page last, so that it is taken first
  std::vector<bool> used_;
};

}  // namespace tandem
