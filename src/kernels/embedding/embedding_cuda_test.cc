#include <algorithm>
#include <limits>

#include "device/cuda/runtime.h"
#include "kernels/cuda_testing.h"
#include "kernels/dequantise/block_samples.h"
#include "kernels/embedding/embedding.h"

namespace tandem {
namespace {

// First, last, foreign on either side, and the ends of i32.
const std::vector<std::int32_t> kIds = {
    10, 14, 9, 15, 12, 12, -1, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()};
const std::int64_t kTokens = static_cast<std::int64_t>(kIds.size());

// Rows 10 to 14 of the vocabulary, of `cols` elements, on the CPU and on the GPU.
void compare(const CudaRig& rig, DType table_type, const std::vector<std::byte>& bytes, std::size_t row_stride,
             std::size_t offset, std::int64_t cols, DType dtype) {
  SCOPED_TRACE(format("{} as {}, {} columns from byte {}", to_string(table_type), to_string(dtype), cols, offset));
  const Shape shape{kTokens, cols};
  std::vector<float> expected(static_cast<std::size_t>(shape.num_elements()));
  embedding(Stream::cpu(1), tensor_of(expected, shape),
            {bytes.data() + offset, table_type, 5, cols, row_stride, Device{}}, 10, tensor_of(kIds, {kTokens}), 1.5f);
  const Buffer table = rig.upload_bytes(bytes);
  const OwnedTensor ids = rig.upload(kIds, {kTokens}), out = rig.unwritten(dtype, shape);
  embedding(rig.stream(), out.tensor,
            {static_cast<const std::byte*>(table.data()) + offset, table_type, 5, cols, row_stride, rig.device()}, 10,
            ids.tensor, 1.5f);
  float largest = 0;
  for (const float x : expected) largest = std::max(largest, std::abs(x));
  // The GPU may fuse d * q + m, which saves the product's rounding: half a unit of at most twice the largest value.
  expect_near(rig.download(out.tensor), {expected.begin(), expected.end()}, 2 * largest * 0x1p-24,
              0.5 * epsilon_of(dtype) + 2 * 0x1p-24);
}

TEST(EmbeddingCuda, LooksUpFloatsOfAnyWidthAndAlignment) {
  const CudaRig rig;
  for (const DType table_type : kActivationTypes) {
    const std::size_t element = dtype_bytes(table_type, 1);
    for (const std::int64_t cols : {1, 7, 13, 576, 2056}) {
      const std::size_t stride = (static_cast<std::size_t>(cols) + 9) / 8 * 8 * element;
      const std::vector<float> values = random_values(static_cast<std::int64_t>(5 * stride / element) + 1, 1);
      std::vector<std::byte> bytes(values.size() * element);
      dispatch_float(table_type, [&]<class T>() {
        for (std::size_t i = 0; i < values.size(); ++i) {
          const T x = from_float<T>(values[i]);
          std::memcpy(bytes.data() + i * element, &x, element);
        }
      });
      for (const std::size_t offset : {std::size_t{0}, element}) {
        for (const DType dtype : kActivationTypes) compare(rig, table_type, bytes, stride, offset, cols, dtype);
      }
    }
  }
}

TEST(EmbeddingCuda, DecodesEveryBlockFormat) {
  const CudaRig rig;
  for (const DType table_type : kBlockFormats) {
    const DTypeInfo& info = dtype_info(table_type);
    for (const std::int64_t blocks : {1, 3, 9}) {
      const std::vector<std::byte> bytes = random_blocks(table_type, 5 * (blocks + 1), 7);
      const std::size_t stride = static_cast<std::size_t>((blocks + 1) * info.block_bytes);
      for (const DType dtype : kActivationTypes) {
        compare(rig, table_type, bytes, stride, static_cast<std::size_t>(info.block_bytes), blocks * info.block_size,
                dtype);
      }
    }
  }
}

TEST(EmbeddingCuda, NoTokensAreLegalAndOddAddressesAreRefused) {
  const CudaRig rig;
  const Buffer table = rig.upload_bytes(std::vector<std::byte>(100));
  const OwnedTensor none(rig.device(), DType::kI32, {0}), no_rows(rig.device(), DType::kBF16, {0, 32});
  embedding(rig.stream(), no_rows.tensor, {table.data(), DType::kQ8_0, 2, 32, 34, rig.device()}, 0, none.tensor, 1);
  const OwnedTensor id = rig.upload(std::vector<std::int32_t>{0}, {1}), row = rig.unwritten(DType::kBF16, {1, 32});
  EXPECT_THROW(
      embedding(rig.stream(), row.tensor, {table.data(), DType::kQ8_0, 2, 32, 35, rig.device()}, 0, id.tensor, 1),
      Error);
}

TEST(EmbeddingCuda, AGraphReadsTheIdsOfItsLaunch) {
  const CudaRig rig;
  const OwnedTensor weights = rig.upload({1, 2, 3}, DType::kF32, {3, 1}), ids = rig.upload({0, 2}, Shape{2});
  const OwnedTensor out = rig.unwritten(DType::kF32, {2, 1});
  const cuda::Graph graph(0, rig.stream().cuda_handle(), [&] {
    embedding(rig.stream(), out.tensor, {weights.tensor.raw(), DType::kF32, 3, 1, 4, rig.device()}, 0, ids.tensor, 1);
  });
  graph.launch(rig.stream().cuda_handle());
  EXPECT_EQ(rig.download(out.tensor), (std::vector<float>{1, 3}));
  const std::int32_t others[] = {1, 0};
  cuda::copy(rig.stream().cuda_handle(), ids.tensor.raw(), others, sizeof others);
  graph.launch(rig.stream().cuda_handle());
  EXPECT_EQ(rig.download(out.tensor), (std::vector<float>{2, 1}));
}

}  // namespace
}  // namespace tandem
