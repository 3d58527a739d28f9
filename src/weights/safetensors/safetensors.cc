#include "weights/safetensors/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/json.h"
#include "base/quote.h"

namespace tandem {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit

struct ElementType {
  std::string_view name;
  std::uint64_t bits;
  std::optional<DType> dtype;  ///< absent for types we cannot compute with
};

constexpr ElementType kElementTypes[] = {
    {"F32", 32, DType::kF32}, {"F16", 16, DType::kF16}, {"BF16", 16, DType::kBF16},
    {"I32", 32, DType::kI32}, {"U8", 8, DType::kU8},    {"F64", 64, {}},
    {"I64", 64, {}},          {"U64", 64, {}},          {"U32", 32, {}},
    {"I16", 16, {}},          {"U16", 16, {}},          {"I8", 8, {}},
    {"BOOL", 8, {}},          {"F8_E4M3", 8, {}},       {"F8_E5M2", 8, {}},
    {"F8_E8M0", 8, {}},       {"F8_E4M3FNUZ", 8, {}},   {"F8_E5M2FNUZ", 8, {}},
    {"F6_E2M3", 6, {}},       {"F6_E3M2", 6, {}},       {"F4", 4, {}},
    {"C64", 64, {}},
};

/// The bytes of one tensor, from the end of the header.
struct Extent {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::string_view name;  ///< in the parsed header
};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::filesystem::path& file)
      : bytes_(bytes), file_(file), origin_(file.string()) {}

  SafetensorsFile parse() {
    const Json header = parse_header();
    for (const auto& [name, value] : header.get_ref<const Json::object_t&>()) {
      if (name == "__metadata__") {
        check_metadata(value);
      } else {
        parse_tensor(name, value);
      }
    }
    check_extents();
    return std::move(result_);
  }

 private:
  template <class... A>
  [[noreturn]] void bad(fmt::format_string<A...> text, A&&... args) const {
    fail(ErrorKind::kBadFile, "{}: {}", origin_, tandem::vformat(text, fmt::make_format_args(args...)));
  }

  Json parse_header() {
    if (bytes_.size() < kLengthBytes) bad("{} bytes are too few for a safetensors file", bytes_.size());
    std::uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), kLengthBytes);
    if (length > kMaxHeaderBytes) {
      bad("the header's length, {} bytes, is over the format's limit of {}; is it a safetensors file?", length,
          kMaxHeaderBytes);
    }
    if (length > bytes_.size() - kLengthBytes) {
      bad("the header's length, {} bytes, reaches past the end of the file ({} bytes)", length, bytes_.size());
    }
    data_begin_ = kLengthBytes + length;
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + kLengthBytes, length);
    if (!text.starts_with('{')) bad("at byte {}: the header does not start with \"{{\"", kLengthBytes);
    return parse_json(text, origin_ + ", header after byte 8");
  }

  void check_metadata(const Json& metadata) const {
    const bool strings = metadata.is_object() && std::all_of(metadata.begin(), metadata.end(),
                                                             [](const Json& value) { return value.is_string(); });
    if (!strings) bad("__metadata__ is not an object of strings");
  }

  std::uint64_t parse_unsigned(const std::string& name, std::string_view what, const Json& value) const {
    if (!value.is_number_unsigned()) bad("tensor {}: {} is not a whole number of 0 or more", quote(name), what);
    return value.get<std::uint64_t>();
  }

  const Json& member(const std::string& name, const Json& tensor, const char* key) const {
    const auto found = tensor.find(key);
    if (found == tensor.end()) bad("tensor {} has no {}", quote(name), key);
    return *found;
  }

  void parse_tensor(const std::string& name, const Json& tensor) {
    if (!tensor.is_object()) bad("tensor {} is not described by an object", quote(name));
    const Json& dtype = member(name, tensor, "dtype");
    const Json& shape = member(name, tensor, "shape");
    const Json& offsets = member(name, tensor, "data_offsets");
    if (!dtype.is_string()) bad("tensor {}: dtype is not a string", quote(name));
    if (!shape.is_array()) bad("tensor {}: shape is not an array", quote(name));
    if (!offsets.is_array() || offsets.size() != 2) bad("tensor {}: data_offsets is not a pair", quote(name));

    const Extent extent{parse_unsigned(name, "data_offsets", offsets[0]),
                        parse_unsigned(name, "data_offsets", offsets[1]), name};
    const std::uint64_t available = bytes_.size() - data_begin_;
    if (extent.begin > extent.end || extent.end > available) {
      bad("tensor {}: bytes {} to {} are not within the {} bytes of data", quote(name), extent.begin, extent.end,
          available);
    }
    extents_.push_back(extent);

    std::vector<std::int64_t> sizes;
    const std::uint64_t count = parse_shape(name, shape, sizes);
    const std::string& type_name = dtype.get_ref<const std::string&>();
    const auto* type = std::find_if(std::begin(kElementTypes), std::end(kElementTypes),
                                    [&](const ElementType& known) { return known.name == type_name; });
    if (type == std::end(kElementTypes)) {
      result_.unusable.push_back({name, "has the unknown element type " + quote(type_name)});
      return;
    }
    const auto bits = checked_mul(count, type->bits);
    const std::uint64_t bytes = extent.end - extent.begin;
    if (!bits || *bits % 8 != 0 || *bits / 8 != bytes) {
      bad("tensor {}: {} elements of {} do not fill bytes {} to {}", quote(name), count, type_name, extent.begin,
          extent.end);
    }
    if (!type->dtype) {
      result_.unusable.push_back({name, "has element type " + type_name});
    } else if (sizes.size() > Shape::kMaxDims) {
      result_.unusable.push_back({name, format("has {} dimensions", sizes.size())});
    } else {
      const std::uint64_t offset = data_begin_ + extent.begin;
      result_.entries.push_back(
          {name, *type->dtype, Shape(sizes), bytes_.data() + offset, static_cast<std::size_t>(bytes), file_, offset});
    }
  }

  /// Fills `sizes` and returns their product. With a size of 0 the other sizes' product has to fit as well, since later
  /// arithmetic multiplies in any order.
  std::uint64_t parse_shape(const std::string& name, const Json& shape, std::vector<std::int64_t>& sizes) const {
    std::optional<std::int64_t> product = 1;
    bool empty = false;
    for (const Json& value : shape) {
      const std::uint64_t size = parse_unsigned(name, "a size of the shape", value);
      if (size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) product.reset();
      if (size == 0) empty = true;
      if (product && size != 0) product = checked_mul(*product, static_cast<std::int64_t>(size));
      if (!product) bad("tensor {}: the number of elements of its shape does not fit 63 bits", quote(name));
      sizes.push_back(static_cast<std::int64_t>(size));
    }
    return empty ? 0 : static_cast<std::uint64_t>(*product);
  }

  /// The format demands that the tensors cover the data exactly: nothing shared, nothing left over.
  void check_extents() {
    std::sort(extents_.begin(), extents_.end(),
              [](const Extent& a, const Extent& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
    Extent previous;
    for (const Extent& extent : extents_) {
      if (extent.begin < previous.end) {
        bad("tensors {} (bytes {} to {}) and {} (bytes {} to {}) overlap", quote(previous.name), previous.begin,
            previous.end, quote(extent.name), extent.begin, extent.end);
      }
      if (extent.begin > previous.end) {
        bad("bytes {} to {} of the data, before tensor {}, belong to no tensor", previous.end, extent.begin,
            quote(extent.name));
      }
      previous = extent;
    }
    const std::uint64_t available = bytes_.size() - data_begin_;
    if (previous.end != available) {
      bad("bytes {} to {} of the data, after the last tensor, belong to no tensor", previous.end, available);
    }
  }

  std::span<const std::byte> bytes_;
  const std::filesystem::path& file_;
  std::string origin_;
  std::uint64_t data_begin_ = 0;
  std::vector<Extent> extents_;
  SafetensorsFile result_;
};

}  // namespace

SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, const std::filesystem::path& file) {
  return Parser(bytes, file).parse();
}

}  // namespace tandem
