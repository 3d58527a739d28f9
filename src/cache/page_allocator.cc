#include "cache/page_allocator.h"

#include "base/error.h"

namespace tandem {

PageAllocator::PageAllocator(std::int64_t num_pages) {
  TANDEM_CHECK(num_pages >= 0 && num_pages < (std::int64_t{1} << 31), "num_pages {}", num_pages);
  used_.resize(static_cast<std::size_t>(num_pages), false);
  for (std::int64_t page = num_pages; page-- > 0;) free_.push_back(static_cast<std::int32_t>(page));
}

std::optional<std::int32_t> PageAllocator::allocate() {
  if (free_.empty()) return std::nullopt;
  const std::int32_t page = free_.back();
  free_.pop_back();
  used_[static_cast<std::size_t>(page)] = true;
  return page;
}

void PageAllocator::release(std::int32_t page) {
  TANDEM_CHECK(page >= 0 && page < num_pages() && used_[static_cast<std::size_t>(page)], "page {}", page);
  used_[static_cast<std::size_t>(page)] = false;
  free_.push_back(page);
}

}  // namespace tandem
