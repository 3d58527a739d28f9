#include "kernels/append_kv/append_kv.h"
#include "kernels/cuda_testing.h"

namespace tandem {
namespace {

TEST(AppendKvCuda, WritesEachTokenToItsSlotAndNothingElse) {
  const CudaRig rig;
  const std::int64_t pages = 4, page_size = 5;
  const std::vector<std::int32_t> slots{19, 0, 20, 7, -1, 4, 5};  // 20 and -1 lie outside
  const std::int64_t n = static_cast<std::int64_t>(slots.size());
  const OwnedTensor to = rig.upload(slots, {n});
  for (const DType dtype : kActivationTypes) {
    for (const auto& [heads, dim] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{3, 8}, {1, 1}, {7, 13}, {9, 256}}) {
      SCOPED_TRACE(format("{} heads of {}, {}", heads, dim, to_string(dtype)));
      const std::int64_t width = heads * dim;
      const Shape shape{n, heads, dim}, cache{pages, page_size, heads, dim};
      const std::vector<float> k = rounded_to(dtype, random_values(n * width, 1));
      const std::vector<float> v = rounded_to(dtype, random_values(n * width, 2));
      std::vector<float> k_expected(static_cast<std::size_t>(cache.num_elements()), 9.0f), v_expected(k_expected);
      const OwnedTensor keys = rig.upload(k, dtype, shape), values = rig.upload(v, dtype, shape);
      for (const bool replayed : {false, true}) {
        const OwnedTensor k_pages = rig.upload(std::vector<float>(k_expected.size(), 9.0f), dtype, cache);
        const OwnedTensor v_pages = rig.upload(std::vector<float>(k_expected.size(), 9.0f), dtype, cache);
        const auto append = [&] {
          append_kv(rig.stream(), k_pages.tensor, v_pages.tensor, keys.tensor, values.tensor, to.tensor);
        };
        if (replayed) {
          const cuda::Graph graph(0, rig.stream().cuda_handle(), append);
          graph.launch(rig.stream().cuda_handle());
          rig.stream().synchronize();
        } else {
          append();
        }
        for (std::size_t t = 0; t < slots.size(); ++t) {
          if (slots[t] < 0 || slots[t] >= pages * page_size) continue;
          const std::int64_t from = static_cast<std::int64_t>(t) * width;
          std::copy(k.begin() + from, k.begin() + from + width, k_expected.begin() + slots[t] * width);
          std::copy(v.begin() + from, v.begin() + from + width, v_expected.begin() + slots[t] * width);
        }
        EXPECT_TRUE(same_bits(rig.download(k_pages.tensor), k_expected)) << "replayed: " << replayed;
        EXPECT_TRUE(same_bits(rig.download(v_pages.tensor), v_expected)) << "replayed: " << replayed;
      }
    }
  }
}

}  // namespace
}  // namespace tandem
