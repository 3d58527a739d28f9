#include "kernels/append_kv/append_kv.h"

#include "kernels/testing.h"

namespace tandem {
namespace {

TEST(AppendKv, WritesEachTokenToItsSlotAndNothingElse) {
  const std::int64_t pages = 4, page_size = 5, heads = 3, dim = 8, width = heads * dim;
  const std::vector<std::int32_t> slots{19, 0, 7, 4, 5};
  const std::vector<float> k = random_values(5 * width, 1), v = random_values(5 * width, 2);
  for (int threads : {1, 3}) {
    std::vector<float> k_pages(static_cast<std::size_t>(pages * page_size * width), 9.0f),
        v_pages(k_pages.size(), 8.0f);
    std::vector<float> k_expected = k_pages, v_expected = v_pages;
    for (std::size_t t = 0; t < slots.size(); ++t) {
      const std::int64_t from = static_cast<std::int64_t>(t) * width;
      std::copy(k.begin() + from, k.begin() + from + width, k_expected.begin() + slots[t] * width);
      std::copy(v.begin() + from, v.begin() + from + width, v_expected.begin() + slots[t] * width);
    }
    append_kv(Stream::cpu(threads), tensor_of(k_pages, {pages, page_size, heads, dim}),
              tensor_of(v_pages, {pages, page_size, heads, dim}), tensor_of(k, {5, heads, dim}),
              tensor_of(v, {5, heads, dim}), tensor_of(slots, {5}));
    EXPECT_TRUE(same_bits(k_pages, k_expected));
    EXPECT_TRUE(same_bits(v_pages, v_expected));
  }
}

TEST(AppendKv, RefusesASlotOutsideOfTheCacheBeforeWriting) {
  std::vector<float> k_pages(4 * 8, 1.0f), v_pages(4 * 8, 1.0f), k(2 * 8), v(2 * 8);
  for (std::int32_t bad : {4, -1}) {
    const std::vector<std::int32_t> slots{0, bad};
    EXPECT_THROW(append_kv(Stream::cpu(1), tensor_of(k_pages, {2, 2, 1, 8}), tensor_of(v_pages, {2, 2, 1, 8}),
                           tensor_of(k, {2, 1, 8}), tensor_of(v, {2, 1, 8}), tensor_of(slots, {2})),
                 Error);
  }
  EXPECT_EQ(k_pages[0], 1.0f);
}

TEST(AppendKv, NoTokensAndNoHeadsAreLegal) {
  std::vector<float> pages(4 * 8), none;
  std::vector<std::int32_t> no_slots, slots(1);
  append_kv(Stream::cpu(1), tensor_of(pages, {2, 2, 1, 8}), tensor_of(pages, {2, 2, 1, 8}), tensor_of(none, {0, 1, 8}),
            tensor_of(none, {0, 1, 8}), tensor_of(no_slots, {0}));
  append_kv(Stream::cpu(1), tensor_of(none, {2, 2, 0, 8}), tensor_of(none, {2, 2, 0, 8}), tensor_of(none, {1, 0, 8}),
            tensor_of(none, {1, 0, 8}), tensor_of(slots, {1}));
}

}  // namespace
}  // namespace tandem
