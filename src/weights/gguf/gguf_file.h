#pragma once
// A GGUF file: typed metadata and a catalogue of tensors. Format: docs/gguf.md of the ggml project (versions 2 and 3,
// little endian). The file is mapped, metadata stays in place, and nothing in it is trusted.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "weights/tensor_catalogue.h"

namespace tandem {

/// Value types, with the numbers of the format.
enum class GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

std::string_view to_string(GgufType type);

struct GgufValue {
  std::string_view key;  ///< in the mapped file
  GgufType type = GgufType::kU8;
  GgufType element = GgufType::kU8;  ///< of an array, never kArray; else the same as `type`
  std::uint64_t count = 1;           ///< elements of an array
  std::size_t offset = 0;            ///< of the value, or of an array's first element, in the file
};

/// Immutable and movable; any thread may read. Views it hands out (keys, strings) live as long as the file object's
/// mapping: moving the object keeps them valid.
class GgufFile {
 public:
  /// Throws kNotFound, kUnreadable, kBadFile with the byte offset, or kUnsupported by name: version 1, big endian,
  /// split files, tensor types without a kernel.
  explicit GgufFile(const std::filesystem::path& path);
  /// The same over bytes in memory, which must outlive this object; `origin` is what errors call them.
  GgufFile(std::span<const std::byte> bytes, std::string origin);

  const std::string& origin() const { return catalogue_.origin(); }
  const TensorCatalogue& catalogue() const { return catalogue_; }

  /// All metadata, in order of key.
  const std::vector<GgufValue>& values() const { return values_; }
  /// nullptr when there is no such key.
  const GgufValue* find(std::string_view key) const;

  // Each find_ returns nullopt when the key is absent and throws kBadFile naming key, expected and actual type when it
  // is there as something else. Any integer type will do for an integer as long as the value fits; f64 for f32.
  std::optional<std::uint64_t> find_u64(std::string_view key) const;
  std::optional<std::int64_t> find_i64(std::string_view key) const;
  std::optional<float> find_f32(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<std::string_view> find_string(std::string_view key) const;
  std::optional<std::vector<std::string_view>> find_strings(std::string_view key) const;
  std::optional<std::vector<std::int32_t>> find_i32s(std::string_view key) const;
  std::optional<std::vector<float>> find_f32s(std::string_view key) const;
  std::optional<std::vector<bool>> find_bools(std::string_view key) const;

  /// The value of a key that must be there: require(&GgufFile::find_u64, "llama.block_count"). Throws kBadFile when the
  /// key is absent, and what the getter throws.
  template <class T>
  T require(std::optional<T> (GgufFile::*getter)(std::string_view) const, std::string_view key) const {
    std::optional<T> value = (this->*getter)(key);
    if (!value) fail(ErrorKind::kBadFile, "{}: metadata key \"{}\" is missing", origin(), key);
    return *std::move(value);
  }

 private:
  void parse(std::span<const std::byte> bytes, const std::filesystem::path& origin);

  MappedFile file_;
  std::span<const std::byte> bytes_;
  std::vector<GgufValue> values_;
  TensorCatalogue catalogue_;
};

}  // namespace tandem
