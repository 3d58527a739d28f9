#include "kernels/cuda_testing.h"
#include "kernels/qk_norm_rope_append/qk_norm_rope_append.h"

namespace tandem {
namespace {

struct Case {
  std::int64_t q_heads, kv_heads, head_dim, rotary_dim;
  RopeStyle style;
  bool has_norm;
};

TEST(QkNormRopeAppendCuda, MatchesTheCpuTwin) {
  const CudaRig rig;
  const Stream cpu = Stream::cpu(2);
  const std::vector<std::int32_t> positions{0, 1, 131071, 77, 1048575}, slots{13, 2, 7, 0, 14};
  const std::int64_t n = 5;
  const OwnedTensor place = rig.upload(positions, {n}), to = rig.upload(slots, {n});
  for (const Case& c : {Case{8, 2, 128, 128, RopeStyle::kNeox, true}, Case{7, 1, 64, 64, RopeStyle::kNeox, false},
                        Case{3, 3, 80, 24, RopeStyle::kNeox, true}, Case{2, 1, 256, 256, RopeStyle::kInterleaved, true},
                        Case{5, 5, 26, 6, RopeStyle::kInterleaved, true}, Case{0, 1, 16, 16, RopeStyle::kNeox, false},
                        Case{1, 0, 16, 0, RopeStyle::kNeox, true}}) {
    const std::int64_t d = c.head_dim, pairs = c.rotary_dim / 2;
    const Shape q_shape{n, c.q_heads, d}, kv_shape{n, c.kv_heads, d}, cache{3, 5, c.kv_heads, d};
    std::vector<float> inv_freq;
    for (std::int64_t i = 0; i < pairs; ++i) {
      inv_freq.push_back(static_cast<float>(std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(pairs))));
    }
    const std::vector<float> q_weight = random_values(d, 5), k_weight = random_values(d, 6);
    const OwnedTensor frequencies = rig.upload(inv_freq, DType::kF32, {pairs});
    const OwnedTensor q_gain = rig.upload(q_weight, DType::kF32, {d}), k_gain = rig.upload(k_weight, DType::kF32, {d});
    for (const DType dtype : kActivationTypes) {
      SCOPED_TRACE(format("{} and {} heads of {}, {}", c.q_heads, c.kv_heads, d, to_string(dtype)));
      const std::vector<float> q = rounded_to(dtype, random_values(q_shape.num_elements(), 1, 3.0f));
      const std::vector<float> k = rounded_to(dtype, random_values(kv_shape.num_elements(), 2, 3.0f));
      const std::vector<float> v = rounded_to(dtype, random_values(kv_shape.num_elements(), 3));
      std::vector<float> q_expected = q, k_expected = k;
      std::vector<float> k_pages_expected(static_cast<std::size_t>(cache.num_elements()), 9.0f);
      std::vector<float> v_pages_expected = k_pages_expected;
      const std::vector<float> untouched = k_pages_expected;
      qk_norm_rope_append(cpu, tensor_of(k_pages_expected, cache), tensor_of(v_pages_expected, cache),
                          tensor_of(q_expected, q_shape), tensor_of(k_expected, kv_shape), tensor_of(v, kv_shape),
                          {.q_weight = c.has_norm ? tensor_of(q_weight, {d}) : ConstTensor{},
                           .k_weight = c.has_norm ? tensor_of(k_weight, {d}) : ConstTensor{},
                           .eps = 1e-5f,
                           .positions = tensor_of(positions, {n}),
                           .inv_freq = tensor_of(inv_freq, {pairs}),
                           .style = c.style,
                           .slots = tensor_of(slots, {n})});
      // As of rms_norm and of rope: values of a normed head are below sqrt(head_dim).
      const double size = c.has_norm ? std::sqrt(static_cast<double>(d)) : 3.0;
      const double absolute = (16 + static_cast<double>(d) / 8) * 0x1p-23 * size, relative = 0.5 * epsilon_of(dtype);
      std::vector<float> eager_q;
      for (const bool replayed : {false, true}) {
        const OwnedTensor heads = rig.upload(q, dtype, q_shape), keys = rig.upload(k, dtype, kv_shape);
        const OwnedTensor values = rig.upload(v, dtype, kv_shape);
        const OwnedTensor k_pages = rig.upload(untouched, dtype, cache), v_pages = rig.upload(untouched, dtype, cache);
        const auto run = [&] {
          qk_norm_rope_append(rig.stream(), k_pages.tensor, v_pages.tensor, heads.tensor, keys.tensor, values.tensor,
                              {.q_weight = c.has_norm ? q_gain.tensor : ConstTensor{},
                               .k_weight = c.has_norm ? k_gain.tensor : ConstTensor{},
                               .eps = 1e-5f,
                               .positions = place.tensor,
                               .inv_freq = frequencies.tensor,
                               .style = c.style,
                               .slots = to.tensor});
        };
        if (replayed) {
          const cuda::Graph graph(0, rig.stream().cuda_handle(), run);
          graph.launch(rig.stream().cuda_handle());
          rig.stream().synchronize();
          EXPECT_TRUE(same_bits(rig.download(heads.tensor), eager_q)) << "replayed";
        } else {
          run();
          eager_q = rig.download(heads.tensor);
        }
        expect_near(rig.download(heads.tensor), {q_expected.begin(), q_expected.end()}, absolute, relative);
        expect_near(rig.download(k_pages.tensor), {k_pages_expected.begin(), k_pages_expected.end()}, absolute,
                    relative);
        EXPECT_TRUE(same_bits(rig.download(v_pages.tensor), v_pages_expected)) << "values are copied";
      }
    }
  }
}

TEST(QkNormRopeAppendCuda, DoesNotWriteASlotOutsideOfTheCache) {
  const CudaRig rig;
  const std::vector<float> ones(2 * 16, 1.0f), twos(2 * 16, 2.0f);
  const OwnedTensor pages_k = rig.upload(twos, DType::kF16, {1, 2, 1, 16}),
                    pages_v = rig.upload(twos, DType::kF16, {1, 2, 1, 16});
  const OwnedTensor q = rig.upload(ones, DType::kF16, {2, 1, 16}), k = rig.upload(ones, DType::kF16, {2, 1, 16});
  const OwnedTensor places = rig.upload(std::vector<std::int32_t>{0, 0}, {2});
  const OwnedTensor slots = rig.upload(std::vector<std::int32_t>{2, -1}, {2});
  const OwnedTensor inv_freq = rig.upload(std::vector<float>(8, 1.0f), DType::kF32, {8});
  qk_norm_rope_append(rig.stream(), pages_k.tensor, pages_v.tensor, q.tensor, k.tensor, k.tensor,
                      {.positions = places.tensor, .inv_freq = inv_freq.tensor, .slots = slots.tensor});
  EXPECT_TRUE(same_bits(rig.download(pages_k.tensor), twos));
  EXPECT_TRUE(same_bits(rig.download(pages_v.tensor), twos));
}

}  // namespace
}  // namespace tandem
