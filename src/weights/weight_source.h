#pragma once
// Where a model's weights come from. Each rank asks for its own part of each tensor and gets it on its own device.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/buffer.h"
#include "device/matrix.h"
#include "device/stream.h"
#include "device/tensor.h"
#include "weights/tensor_catalogue.h"

namespace tandem {

class GgufFile;

/// A part of a 2-D tensor [rows, cols], or of matrix `expert` of a 3-D tensor [experts, rows, cols].
struct MatrixRange {
  std::int64_t expert = 0;  ///< 0 for a 2-D tensor
  std::int64_t row_begin = 0;
  std::int64_t row_end = 0;
  std::int64_t col_begin = 0;  ///< both on whole blocks of the tensor's dtype
  std::int64_t col_end = 0;
};

/// Valid while the source it came from lives.
struct LoadedMatrix {
  ConstMatrix matrix;  ///< aligned to its elements (4 bytes f32 and i32, 2 bytes all others but u8), no further
  Buffer storage;      ///< empty when `matrix` points into the mapped file
};

/// All const members may be called from several ranks' threads at once, each with its own stream.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  const TensorCatalogue& catalogue() const { return catalogue_; }
  /// The folder, the file or "dummy", as errors name it.
  const std::string& origin() const { return catalogue_.origin(); }

  /// The part `range` of `entry` (of this source's catalogue), in the entry's dtype. On CPU streams a view of the
  /// mapped file where its alignment allows: nothing is read, and pages outside the part never are. Empty ranges are
  /// fine. Throws kBadFile when the tensor is no matrix, kInternal when the range does not lie in it.
  virtual LoadedMatrix load_matrix(const Stream& stream, const TensorEntry& entry, const MatrixRange& range) const = 0;

  /// Elements [begin, end) of a 1-D tensor of a float dtype, as f32. Throws kBadFile for another shape or dtype,
  /// kInternal when the range does not lie in the tensor.
  virtual OwnedTensor load_vector(const Stream& stream, const TensorEntry& entry, std::int64_t begin,
                                  std::int64_t end) const = 0;

 protected:
  explicit WeightSource(TensorCatalogue catalogue) : catalogue_(std::move(catalogue)) {}

 private:
  TensorCatalogue catalogue_;
};

/// Reads every page of the matrix once, on the stream's threads, so that reading the file is part of loading and not of
/// the first token. `progress` is called on the calling thread with the bytes newly read; the calls sum up to
/// matrix.bytes(). Nothing to read (pages of a Buffer already touched): as fast as walking the pages.
void touch(const Stream& stream, const ConstMatrix& matrix, const std::function<void(std::size_t bytes)>& progress);

/// A folder with `model.safetensors`, or with `model.safetensors.index.json` and the shards it lists.
/// Throws kNotFound, kUnreadable, kBadFile, or kUnsupported for a folder of other checkpoint formats.
std::unique_ptr<WeightSource> open_safetensors(const std::filesystem::path& folder);

/// The tensors of an opened GGUF file; keeps the file.
std::unique_ptr<WeightSource> open_gguf(std::shared_ptr<const GgufFile> file);

/// A model of random weights is named dummy:NAME, where another is a folder or a file.
inline constexpr std::string_view kDummyPrefix = "dummy:";

/// How the values of a dummy tensor are spread; all are uniform.
enum class DummyKind {
  kMatrix,  ///< mean 0, variance 1 / (size of the last dimension): keeps the magnitude of activations
  kNorm,    ///< between 1 - 1/16 and 1 + 1/16
  kSmall,   ///< mean 0, standard deviation 0.02: embeddings, biases, norms stored as the distance from 1
};

struct DummyTensor {
  std::string name;
  DType dtype = DType::kBF16;  ///< f32, f16 or bf16
  Shape shape;
  DummyKind kind = DummyKind::kMatrix;
};

/// Random weights: a value depends on (seed, tensor name, index of the element in the whole tensor) alone, so every
/// split of a tensor holds the same bits. Drawn when loaded, into a Buffer, on the stream's threads.
/// `origin` is what errors and reports call it, e.g. "dummy:llama-3.2-1b". Throws kUnsupported for other dtypes.
std::unique_ptr<WeightSource> open_dummy(std::string origin, const std::vector<DummyTensor>& tensors,
                                         std::uint64_t seed);

}  // namespace tandem
