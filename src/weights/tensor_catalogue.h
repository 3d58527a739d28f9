#pragma once
// The names, shapes and places of a model's tensors: what every weight format is read into.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "device/tensor.h"

namespace tandem {

/// One tensor of a weight source. A value; `data` belongs to the source.
struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;                      ///< row major, outermost first: Hugging Face's order; GGUF's sizes reversed
  const std::byte* data = nullptr;  ///< in the mapped file, at any alignment; nullptr for dummy weights
  std::size_t bytes = 0;
  std::filesystem::path file;  ///< empty for dummy weights
  std::uint64_t offset = 0;    ///< of `data`, in bytes from the start of `file`
};

/// A tensor that is in the file but that nothing here can compute with; asking for it is an error, ignoring it is not.
struct UnusableTensor {
  std::string name;
  std::string reason;  ///< e.g. "has element type F8_E4M3"
};

/// Immutable, so any thread may read it. Entries are in order of name.
class TensorCatalogue {
 public:
  TensorCatalogue() = default;
  /// `origin` is the file or folder that errors name. Throws kBadFile when a name is there twice.
  TensorCatalogue(std::string origin, std::vector<TensorEntry> entries, std::vector<UnusableTensor> unusable = {});

  /// nullptr when there is no such tensor. Throws kUnsupported when it is there but unusable, so that a tensor a caller
  /// holds to be optional is never passed over for its element type.
  const TensorEntry* find(std::string_view name) const;
  /// As find(), but throws kBadFile naming the tensor, the origin and the most similar names when it is not there.
  const TensorEntry& at(std::string_view name) const;

  const std::vector<TensorEntry>& entries() const { return entries_; }
  const std::vector<UnusableTensor>& unusable() const { return unusable_; }
  const std::string& origin() const { return origin_; }
  /// Sum of the entries' bytes.
  std::size_t total_bytes() const { return total_bytes_; }

 private:
  std::string origin_;
  std::vector<TensorEntry> entries_;
  std::vector<UnusableTensor> unusable_;
  std::size_t total_bytes_ = 0;
};

}  // namespace tandem
