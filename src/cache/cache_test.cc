#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "cache/kv_cache.h"
#include "cache/page_allocator.h"

namespace tandem {
namespace {

TEST(PageAllocator, HandsOutEachPageOnceAndTakesItBack) {
  PageAllocator pages(3);
  std::set<std::int32_t> seen;
  while (const auto page = pages.allocate()) seen.insert(*page);
  EXPECT_EQ(seen, (std::set<std::int32_t>{0, 1, 2}));
  EXPECT_EQ(pages.num_free(), 0);
  pages.release(1);
  EXPECT_EQ(pages.allocate(), 1);
  pages.release(0);
  EXPECT_THROW(pages.release(0), Error);
  EXPECT_THROW(pages.release(3), Error);
}

TEST(PageAllocator, RefusesImpossibleNumbersBeforeItTakesMemory) {
  for (const std::int64_t num_pages : {std::int64_t{-1}, std::int64_t{1} << 31, std::int64_t{1} << 60}) {
    EXPECT_THROW((PageAllocator(num_pages)), Error);
  }
}

TEST(KvCache, LaysOutPagesOfEveryLayerApart) {
  const KvCache cache(Device{}, DType::kF32,
                      {.num_pages = 2, .page_size = 4, .num_layers = 3, .num_kv_heads = 1, .head_dim = 8});
  std::set<const void*> places;
  for (int layer = 0; layer < 3; ++layer) {
    EXPECT_EQ(cache.keys(layer).shape(), (Shape{2, 4, 1, 8}));
    places.insert(cache.keys(layer).raw());
    places.insert(cache.values(layer).raw());
  }
  EXPECT_EQ(places.size(), 6u);
}

TEST(KvCache, ARankWithoutHeadsHoldsNothing) {
  const KvCache cache(Device{}, DType::kF32,
                      {.num_pages = 2, .page_size = 4, .num_layers = 3, .num_kv_heads = 0, .head_dim = 8});
  EXPECT_EQ(cache.bytes(), 0u);
  EXPECT_EQ(cache.keys(2).num_elements(), 0);
}

TEST(KvCache, RefusesSizesThatOverflow) {
  EXPECT_THROW(
      KvCache(
          Device{}, DType::kF32,
          {.num_pages = std::int64_t{1} << 60, .page_size = 256, .num_layers = 1, .num_kv_heads = 8, .head_dim = 128}),
      Error);
}

}  // namespace
}  // namespace tandem
