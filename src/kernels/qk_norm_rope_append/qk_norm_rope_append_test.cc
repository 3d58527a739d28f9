#include "kernels/qk_norm_rope_append/qk_norm_rope_append.h"

#include "kernels/append_kv/append_kv.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/testing.h"

namespace tandem {
namespace {

TEST(QkNormRopeAppend, HasTheBitsOfTheOperationsItIsMadeOf) {
  const Stream stream = Stream::cpu(2);
  const std::int64_t n = 3, heads = 4, kv_heads = 2, dim = 16, pages = 2, page_size = 4;
  const std::vector<std::int32_t> positions{5, 0, 90}, slots{7, 2, 0};
  const std::vector<float> v = random_values(n * kv_heads * dim, 3), inv_freq = random_values(6, 4);
  const std::vector<float> q_weight = random_values(dim, 5), k_weight = random_values(dim, 6);
  const Shape cache{pages, page_size, kv_heads, dim};
  for (const bool has_norm : {true, false}) {
    std::vector<float> q = random_values(n * heads * dim, 1), k = random_values(n * kv_heads * dim, 2);
    std::vector<float> q_expected = q, k_expected = k;
    std::vector<float> k_pages(static_cast<std::size_t>(cache.num_elements()), 9.0f), v_pages(k_pages);
    std::vector<float> k_pages_expected(k_pages), v_pages_expected(k_pages);
    qk_norm_rope_append(stream, tensor_of(k_pages, cache), tensor_of(v_pages, cache), tensor_of(q, {n, heads, dim}),
                        tensor_of(k, {n, kv_heads, dim}), tensor_of(v, {n, kv_heads, dim}),
                        {.q_weight = has_norm ? tensor_of(q_weight, {dim}) : ConstTensor{},
                         .k_weight = has_norm ? tensor_of(k_weight, {dim}) : ConstTensor{},
                         .eps = 1e-5f,
                         .positions = tensor_of(positions, {n}),
                         .inv_freq = tensor_of(inv_freq, {6}),
                         .attention_scaling = 1.5f,
                         .style = RopeStyle::kInterleaved,
                         .slots = tensor_of(slots, {n})});
    const Tensor q_tensor = tensor_of(q_expected, {n, heads, dim});
    const Tensor k_tensor = tensor_of(k_expected, {n, kv_heads, dim});
    if (has_norm) {
      rms_norm(stream, q_tensor, q_tensor, tensor_of(q_weight, {dim}), 1e-5f, 0);
      rms_norm(stream, k_tensor, k_tensor, tensor_of(k_weight, {dim}), 1e-5f, 0);
    }
    for (const Tensor& x : {q_tensor, k_tensor}) {
      rope(stream, x, tensor_of(positions, {n}), tensor_of(inv_freq, {6}), 1.5f, RopeStyle::kInterleaved);
    }
    append_kv(stream, tensor_of(k_pages_expected, cache), tensor_of(v_pages_expected, cache), k_tensor,
              tensor_of(v, {n, kv_heads, dim}), tensor_of(slots, {n}));
    EXPECT_TRUE(same_bits(q, q_expected));
    EXPECT_TRUE(same_bits(k_pages, k_pages_expected));
    EXPECT_TRUE(same_bits(v_pages, v_pages_expected));
  }
}

TEST(QkNormRopeAppend, RefusesANormOfOneOfThem) {
  std::vector<float> x(8), weight(8, 1.0f), inv_freq(4, 1.0f);
  const std::vector<std::int32_t> zero{0};
  EXPECT_THROW(qk_norm_rope_append(Stream::cpu(1), tensor_of(x, {1, 1, 1, 8}), tensor_of(x, {1, 1, 1, 8}),
                                   tensor_of(x, {1, 1, 8}), tensor_of(x, {1, 1, 8}), tensor_of(x, {1, 1, 8}),
                                   {.k_weight = tensor_of(weight, {8}),
                                    .positions = tensor_of(zero, {1}),
                                    .inv_freq = tensor_of(inv_freq, {4}),
                                    .slots = tensor_of(zero, {1})}),
               Error);
}

}  // namespace
}  // namespace tandem
