#include "weights/gguf/gguf_parser.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/quote.h"

namespace tandem {
namespace {

constexpr std::uint64_t kMaxEntries = 1u << 20;      // of metadata and of tensors; real files stay below a few thousand
constexpr std::uint64_t kMinValueBytes = 8 + 4 + 1;  // key length, type, value
constexpr std::uint64_t kMinTensorBytes = 8 + 4 + 4 + 8;  // name length, number of dimensions, type, offset
constexpr std::uint32_t kMaxType = static_cast<std::uint32_t>(GgufType::kF64);

struct TensorType {
  std::string_view name;
  std::optional<DType> dtype;  ///< absent for types without a kernel
};

/// By number: enum ggml_type of ggml.h. Empty names were never used or have been withdrawn.
constexpr TensorType kTensorTypes[] = {
    {"F32", DType::kF32},
    {"F16", DType::kF16},
    {"Q4_0", DType::kQ4_0},
    {"Q4_1", DType::kQ4_1},
    {"Q4_2", {}},
    {"Q4_3", {}},
    {"Q5_0", DType::kQ5_0},
    {"Q5_1", DType::kQ5_1},
    {"Q8_0", DType::kQ8_0},
    {"Q8_1", {}},
    {"Q2_K", {}},
    {"Q3_K", {}},
    {"Q4_K", DType::kQ4_K},
    {"Q5_K", DType::kQ5_K},
    {"Q6_K", DType::kQ6_K},
    {"Q8_K", {}},
    {"IQ2_XXS", {}},
    {"IQ2_XS", {}},
    {"IQ3_XXS", {}},
    {"IQ1_S", {}},
    {"IQ4_NL", {}},
    {"IQ3_S", {}},
    {"IQ2_S", {}},
    {"IQ4_XS", {}},
    {"I8", {}},
    {"I16", {}},
    {"I32", DType::kI32},
    {"I64", {}},
    {"F64", {}},
    {"IQ1_M", {}},
    {"BF16", DType::kBF16},
    {"Q4_0_4_4", {}},
    {"Q4_0_4_8", {}},
    {"Q4_0_8_8", {}},
    {"TQ1_0", {}},
    {"TQ2_0", {}},
    {"IQ4_NL_4_4", {}},
    {"IQ4_NL_4_8", {}},
    {"IQ4_NL_8_8", {}},
    {"MXFP4", {}},
    {"NVFP4", {}},
    {"Q1_0", {}},
};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::filesystem::path& file)
      : bytes_(bytes), file_(file), origin_(file.string()) {}

  ParsedGguf parse() {
    parse_magic_and_version();
    const std::uint64_t num_tensors = read_count("tensors", kMinTensorBytes);
    const std::uint64_t num_values = read_count("metadata values", kMinValueBytes);
    for (std::uint64_t i = 0; i < num_values; ++i) parse_value();
    sort_values();
    check_split();
    const std::uint64_t alignment = find_alignment();
    for (std::uint64_t i = 0; i < num_tensors; ++i) parse_tensor(alignment);
    place_tensors(alignment);
    return std::move(result_);
  }

 private:
  template <class... A>
  [[noreturn]] void bad(fmt::format_string<A...> text, A&&... args) const {
    fail(ErrorKind::kBadFile, "{}: {}", origin_, tandem::vformat(text, fmt::make_format_args(args...)));
  }

  std::uint64_t remaining() const { return bytes_.size() - position_; }

  void skip(std::uint64_t count, std::string_view what) {
    if (count > remaining()) {
      bad("at byte {}: {} of {} bytes reaches past the end of the file ({} bytes)", position_, what, count,
          bytes_.size());
    }
    position_ += count;
  }

  template <class T>
  T read(std::string_view what) {
    const std::size_t at = position_;
    skip(sizeof(T), what);
    T value;
    std::memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }

  std::string_view read_string(std::string_view what) {
    const std::size_t at = position_;
    skip(read<std::uint64_t>("length of a string"), what);
    return gguf_string(bytes_, at);
  }

  void parse_magic_and_version() {
    const auto magic = read<std::array<char, 4>>("magic number");
    if (std::string_view(magic.data(), magic.size()) != "GGUF") {
      fail_with_hint(
          ErrorKind::kBadFile,
          format("{}: not a GGUF file: it starts with {}, not \"GGUF\"", origin_, quote({magic.data(), magic.size()})),
          "older GGML and GGJT files have to be converted by the tools that wrote them");
    }
    const auto version = read<std::uint32_t>("version");
    if ((version & 0xffff) == 0 && version != 0) {
      fail_with_hint(ErrorKind::kUnsupported, format("{}: a big-endian GGUF file", origin_),
                     "convert it to little endian (gguf-convert-endian of the gguf package)");
    }
    if (version != 2 && version != 3) {
      fail_with_hint(ErrorKind::kUnsupported, format("{}: GGUF version {}; 2 and 3 are supported", origin_, version),
                     "convert the model again with current tools");
    }
  }

  /// No count is believed that the rest of the file could not hold.
  std::uint64_t read_count(std::string_view what, std::uint64_t min_bytes) {
    const std::size_t at = position_;
    const auto count = read<std::uint64_t>("a count");
    if (count > kMaxEntries || count > remaining() / min_bytes) {
      bad("at byte {}: {} {} do not fit the {} bytes that follow or the limit of {}", at, count, what, remaining(),
          kMaxEntries);
    }
    return count;
  }

  GgufType read_type(std::string_view key) {
    const std::size_t at = position_;
    const auto type = read<std::uint32_t>("a value type");
    if (type > kMaxType) bad("at byte {}: metadata key {} has the unknown value type {}", at, quote(key), type);
    return static_cast<GgufType>(type);
  }

  void parse_value() {
    GgufValue value;
    value.key = read_string("a metadata key");
    value.type = read_type(value.key);
    value.element = value.type == GgufType::kArray ? read_type(value.key) : value.type;
    if (value.element == GgufType::kArray) {
      fail_with_hint(
          ErrorKind::kUnsupported,
          format("{}: at byte {}: metadata key {} is an array of arrays", origin_, position_, quote(value.key)),
          "no model needs one; convert the model again with current tools");
    }
    if (value.type == GgufType::kArray) value.count = read<std::uint64_t>("length of an array");
    value.offset = position_;
    if (value.element == GgufType::kString) {
      // Every string ends within the file, so a count too large ends the loop by itself.
      for (std::uint64_t i = 0; i < value.count; ++i) read_string("a string");
    } else {
      const auto size = checked_mul<std::uint64_t>(value.count, gguf_type_bytes(value.element));
      if (!size) bad("at byte {}: metadata key {} has {} values", value.offset, quote(value.key), value.count);
      skip(*size, "a metadata value");
    }
    result_.values.push_back(value);
  }

  void sort_values() {
    auto& values = result_.values;
    std::sort(values.begin(), values.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    const auto twice =
        std::adjacent_find(values.begin(), values.end(), [](const auto& a, const auto& b) { return a.key == b.key; });
    if (twice != values.end()) bad("metadata key {} is there twice", quote(twice->key));
  }

  /// The unsigned integer of a key we interpret ourselves.
  std::optional<std::uint64_t> find_unsigned(std::string_view key) const {
    const auto value = std::lower_bound(result_.values.begin(), result_.values.end(), key,
                                        [](const auto& a, std::string_view wanted) { return a.key < wanted; });
    if (value == result_.values.end() || value->key != key) return std::nullopt;
    if (value->type != GgufType::kU16 && value->type != GgufType::kU32 && value->type != GgufType::kU64) {
      bad("metadata key {} is {}, not an unsigned integer", quote(key), to_string(value->type));
    }
    std::uint64_t number = 0;
    std::memcpy(&number, bytes_.data() + value->offset, gguf_type_bytes(value->type));
    return number;
  }

  void check_split() const {
    const std::uint64_t count = find_unsigned("split.count").value_or(1);
    if (count > 1) {
      fail_with_hint(ErrorKind::kUnsupported, format("{}: one of {} parts of a split GGUF model", origin_, count),
                     "merge the parts first: llama-gguf-split --merge FIRST_PART MERGED");
    }
  }

  std::uint64_t find_alignment() const {
    const std::uint64_t alignment = find_unsigned("general.alignment").value_or(32);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > std::numeric_limits<std::uint32_t>::max()) {
      bad("general.alignment is {}, not a power of two below 2^32", alignment);
    }
    return alignment;
  }

  DType read_dtype(const std::string& name) {
    const std::size_t at = position_;
    const auto type = read<std::uint32_t>("a tensor type");
    if (type >= std::size(kTensorTypes)) bad("at byte {}: tensor {} has the unknown type {}", at, quote(name), type);
    const TensorType& known = kTensorTypes[type];
    if (!known.dtype) {
      fail_with_hint(
          ErrorKind::kUnsupported,
          format("{}: tensor {} is {} (type {}), which is not supported", origin_, quote(name), known.name, type),
          "take a file quantised to Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K, or F16, BF16, F32");
    }
    return *known.dtype;
  }

  /// Leaves `offset` relative to the data, whose start is not known yet.
  void parse_tensor(std::uint64_t alignment) {
    TensorEntry entry;
    entry.name = std::string(read_string("a tensor name"));
    entry.file = file_;
    const std::size_t at = position_;
    const auto num_dims = read<std::uint32_t>("number of dimensions");
    if (num_dims > Shape::kMaxDims) bad("at byte {}: tensor {} has {} dimensions", at, quote(entry.name), num_dims);
    std::array<std::int64_t, Shape::kMaxDims> sizes{};
    std::optional<std::int64_t> product = 1;  // of the sizes that are not 0: later arithmetic multiplies in any order
    for (std::uint32_t i = num_dims; i-- > 0;) {
      const auto size = read<std::uint64_t>("a tensor size");
      if (size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) product.reset();
      sizes[i] = static_cast<std::int64_t>(size);
      if (product && size != 0) product = checked_mul(*product, sizes[i]);
      if (!product) bad("at byte {}: the elements of tensor {} do not fit 63 bits", at, quote(entry.name));
    }
    entry.shape = Shape(std::span<const std::int64_t>(sizes.data(), num_dims));
    entry.dtype = read_dtype(entry.name);
    const DTypeInfo& info = dtype_info(entry.dtype);
    const std::int64_t cols = num_dims == 0 ? 1 : sizes[num_dims - 1];
    if (cols % info.block_size != 0) {
      bad("at byte {}: tensor {} has rows of {} elements, not whole blocks of {} {}", at, quote(entry.name), cols,
          info.block_size, info.name);
    }
    const auto bytes = checked_mul<std::int64_t>(entry.shape.num_elements() / info.block_size, info.block_bytes);
    if (!bytes) bad("at byte {}: the bytes of tensor {} do not fit 63 bits", at, quote(entry.name));
    entry.bytes = static_cast<std::size_t>(*bytes);
    entry.offset = read<std::uint64_t>("a tensor offset");
    if (entry.offset % alignment != 0) {
      bad("tensor {}: offset {} is no multiple of the alignment, {}", quote(entry.name), entry.offset, alignment);
    }
    result_.entries.push_back(std::move(entry));
  }

  void place_tensors(std::uint64_t alignment) {
    auto& entries = result_.entries;
    const std::uint64_t begin = (position_ + alignment - 1) / alignment * alignment;
    const std::uint64_t available = begin < bytes_.size() ? bytes_.size() - begin : 0;
    std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
      return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
    });
    const TensorEntry* previous = nullptr;
    for (TensorEntry& entry : entries) {
      if (entry.bytes > available || entry.offset > available - entry.bytes) {
        bad("tensor {}: {} bytes at {} of the data reach past the end of the file ({} bytes of data from byte {})",
            quote(entry.name), entry.bytes, entry.offset, available, begin);
      }
      entry.offset += begin;
      entry.data = bytes_.data() + std::min<std::uint64_t>(entry.offset, bytes_.size());
      if (entry.bytes == 0) continue;
      if (previous != nullptr && entry.offset < previous->offset + previous->bytes) {
        bad("tensors {} and {} overlap at byte {}", quote(previous->name), quote(entry.name), entry.offset);
      }
      previous = &entry;
    }
  }

  std::span<const std::byte> bytes_;
  const std::filesystem::path& file_;
  std::string origin_;
  std::size_t position_ = 0;
  ParsedGguf result_;
};

}  // namespace

ParsedGguf parse_gguf(std::span<const std::byte> bytes, const std::filesystem::path& file) {
  return Parser(bytes, file).parse();
}

std::size_t gguf_type_bytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  return 0;
}

std::string_view gguf_string(std::span<const std::byte> bytes, std::size_t offset) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data() + offset, sizeof length);
  return {reinterpret_cast<const char*>(bytes.data()) + offset + sizeof length, static_cast<std::size_t>(length)};
}

}  // namespace tandem
