#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/quote.h"
#include "weights/dummy/dummy_values.h"
#include "weights/range_checks.h"
#include "weights/weight_source.h"

namespace tandem {
namespace {

/// A uniform distribution over -a to a has the standard deviation a / sqrt(3).
DummySpread spread_of(const DummyTensor& tensor) {
  switch (tensor.kind) {
    case DummyKind::kNorm:
      return {1.0f, 0x1p-4f};
    case DummyKind::kSmall:
      return {0.0f, static_cast<float>(0.02 * std::sqrt(3.0))};
    case DummyKind::kMatrix:
      break;
  }
  const std::int64_t fan_in = tensor.shape.num_dims() == 0 ? 1 : tensor.shape[tensor.shape.num_dims() - 1];
  return {0.0f, static_cast<float>(std::sqrt(3.0 / static_cast<double>(std::max<std::int64_t>(1, fan_in))))};
}

class DummySource final : public WeightSource {
 public:
  DummySource(TensorCatalogue catalogue, std::map<std::string, DummyStream, std::less<>> streams)
      : WeightSource(std::move(catalogue)), streams_(std::move(streams)) {}

  LoadedMatrix load_matrix(const Stream& stream, const TensorEntry& entry, const MatrixRange& range) const override {
    check_matrix_range(entry, range);
    TANDEM_CHECK(stream.device().is_cpu(), "stream on {}", to_string(stream.device()));
    const std::int64_t rows = range.row_end - range.row_begin;
    const std::int64_t cols = range.col_end - range.col_begin;
    const std::int64_t all_rows = entry.shape[entry.shape.num_dims() - 2];
    const std::int64_t all_cols = entry.shape[entry.shape.num_dims() - 1];
    const std::int64_t first_row = range.expert * all_rows + range.row_begin;
    const std::size_t row_bytes = dtype_bytes(entry.dtype, cols);
    Buffer storage(stream.device(), static_cast<std::size_t>(rows) * row_bytes);
    std::byte* out = static_cast<std::byte*>(storage.data());
    const DummyStream& values = stream_of(entry);
    stream.parallel_for(
        rows, 1 + kValuesAChunk / std::max<std::int64_t>(1, cols), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t r = begin; r < end; ++r) {
            const std::int64_t first = (first_row + r) * all_cols + range.col_begin;
            fill_dummy(values, entry.dtype, out + static_cast<std::size_t>(r) * row_bytes, first, first + cols);
          }
        });
    return {{.data = out,
             .dtype = entry.dtype,
             .rows = rows,
             .cols = cols,
             .row_stride = row_bytes,
             .device = stream.device()},
            std::move(storage)};
  }

  OwnedTensor load_vector(const Stream& stream, const TensorEntry& entry, std::int64_t begin,
                          std::int64_t end) const override {
    check_vector_range(entry, begin, end);
    TANDEM_CHECK(stream.device().is_cpu(), "stream on {}", to_string(stream.device()));
    OwnedTensor drawn(stream.device(), entry.dtype, {end - begin});
    fill_dummy(stream_of(entry), entry.dtype, drawn.tensor.raw(), begin, end);
    if (entry.dtype == DType::kF32) return drawn;
    OwnedTensor vector(stream.device(), DType::kF32, {end - begin});
    dispatch_float(entry.dtype, [&]<class T>() {
      const T* from = drawn.tensor.data<T>();
      std::transform(from, from + (end - begin), vector.tensor.data<float>(), [](T x) { return to_float(x); });
    });
    return vector;
  }

 private:
  static constexpr std::int64_t kValuesAChunk = 4096;  // about 20 us of work: enough to wake a thread for

  const DummyStream& stream_of(const TensorEntry& entry) const {
    const auto found = streams_.find(entry.name);
    TANDEM_CHECK(found != streams_.end(), "{} has no tensor {}", origin(), quote(entry.name));
    return found->second;
  }

  std::map<std::string, DummyStream, std::less<>> streams_;
};

}  // namespace

std::unique_ptr<WeightSource> open_dummy(std::string origin, const std::vector<DummyTensor>& tensors,
                                         std::uint64_t seed) {
  std::vector<TensorEntry> entries;
  std::map<std::string, DummyStream, std::less<>> streams;
  for (const DummyTensor& tensor : tensors) {
    if (!is_float(tensor.dtype)) {
      fail(ErrorKind::kUnsupported, "{}: dummy weights are f32, f16 or bf16, not {}", origin, to_string(tensor.dtype));
    }
    TensorEntry& entry = entries.emplace_back();
    entry.name = tensor.name;
    entry.dtype = tensor.dtype;
    entry.shape = tensor.shape;
    entry.bytes = dtype_bytes(tensor.dtype, tensor.shape.num_elements());
    streams[tensor.name] = {seed, dummy_name_hash(tensor.name), spread_of(tensor)};
  }
  return std::make_unique<DummySource>(TensorCatalogue(std::move(origin), std::move(entries)), std::move(streams));
}

}  // namespace tandem
