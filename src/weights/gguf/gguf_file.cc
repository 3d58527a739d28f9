#include "weights/gguf/gguf_file.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/quote.h"
#include "weights/gguf/gguf_parser.h"
#include "weights/mapped_source.h"

namespace tandem {
namespace {

bool is_integer(GgufType type) {
  return type <= GgufType::kI32 || type == GgufType::kU64 || type == GgufType::kI64;
}
bool is_float(GgufType type) {
  return type == GgufType::kF32 || type == GgufType::kF64;
}

std::string describe(const GgufValue& value) {
  if (value.type != GgufType::kArray) return std::string(to_string(value.type));
  return format("array of {} {}", value.count, to_string(value.element));
}

/// The value of `key` if it has the form wanted, nullptr if there is none; else throws.
const GgufValue* find_as(const GgufFile& file, std::string_view key, bool array, bool (*accepts)(GgufType),
                         std::string_view expected) {
  const GgufValue* value = file.find(key);
  if (value != nullptr && ((value->type == GgufType::kArray) != array || !accepts(value->element))) {
    fail(ErrorKind::kBadFile, "{}: metadata key {} is {}, expected {}", file.origin(), quote(key), describe(*value),
         expected);
  }
  return value;
}

template <class T>
T load(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

/// Element `index` of an integer value, by sign and magnitude: wide enough for u64 and i64 both.
struct Integer {
  std::int64_t as_signed;  ///< meaningless when `large`
  std::uint64_t as_unsigned;
  bool large;  ///< above the range of i64
};

Integer load_integer(std::span<const std::byte> bytes, const GgufValue& value, std::size_t index) {
  const std::size_t offset = value.offset + index * gguf_type_bytes(value.element);
  const auto from_signed = [](std::int64_t x) { return Integer{x, static_cast<std::uint64_t>(x), false}; };
  switch (value.element) {
    case GgufType::kU8:
      return from_signed(load<std::uint8_t>(bytes, offset));
    case GgufType::kI8:
      return from_signed(load<std::int8_t>(bytes, offset));
    case GgufType::kU16:
      return from_signed(load<std::uint16_t>(bytes, offset));
    case GgufType::kI16:
      return from_signed(load<std::int16_t>(bytes, offset));
    case GgufType::kU32:
      return from_signed(load<std::uint32_t>(bytes, offset));
    case GgufType::kI32:
      return from_signed(load<std::int32_t>(bytes, offset));
    case GgufType::kI64:
      return from_signed(load<std::int64_t>(bytes, offset));
    default: {
      const auto x = load<std::uint64_t>(bytes, offset);
      return {static_cast<std::int64_t>(x), x,
              x > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())};
    }
  }
}

float load_float(std::span<const std::byte> bytes, const GgufValue& value, std::size_t index) {
  const std::size_t offset = value.offset + index * gguf_type_bytes(value.element);
  return value.element == GgufType::kF32 ? load<float>(bytes, offset) : static_cast<float>(load<double>(bytes, offset));
}

[[noreturn]] void out_of_range(const GgufFile& file, const GgufValue& value, const Integer& x, std::string_view type) {
  const std::string number = x.large ? format("{}", x.as_unsigned) : format("{}", x.as_signed);
  fail(ErrorKind::kBadFile, "{}: metadata key {} holds {}, outside the range of {}", file.origin(), quote(value.key),
       number, type);
}

bool load_bool(const GgufFile& file, std::span<const std::byte> bytes, const GgufValue& value, std::size_t index) {
  const auto byte = load<std::uint8_t>(bytes, value.offset + index);
  if (byte > 1) {
    fail(ErrorKind::kBadFile, "{}: metadata key {} holds the bool {}", file.origin(), quote(value.key), byte);
  }
  return byte == 1;
}

bool is_bool(GgufType type) {
  return type == GgufType::kBool;
}
bool is_string(GgufType type) {
  return type == GgufType::kString;
}

}  // namespace

std::string_view to_string(GgufType type) {
  static constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<std::size_t>(type)];
}

GgufFile::GgufFile(const std::filesystem::path& path) : file_(path) {
  parse(file_.bytes(), path);
}

GgufFile::GgufFile(std::span<const std::byte> bytes, std::string origin) {
  parse(bytes, origin);
}

void GgufFile::parse(std::span<const std::byte> bytes, const std::filesystem::path& origin) {
  ParsedGguf parsed = parse_gguf(bytes, origin);
  bytes_ = bytes;
  values_ = std::move(parsed.values);
  catalogue_ = TensorCatalogue(origin.string(), std::move(parsed.entries));
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto value = std::lower_bound(values_.begin(), values_.end(), key,
                                      [](const GgufValue& a, std::string_view wanted) { return a.key < wanted; });
  return value != values_.end() && value->key == key ? &*value : nullptr;
}

std::optional<std::uint64_t> GgufFile::find_u64(std::string_view key) const {
  const GgufValue* value = find_as(*this, key, false, is_integer, "an integer");
  if (value == nullptr) return std::nullopt;
  const Integer x = load_integer(bytes_, *value, 0);
  if (!x.large && x.as_signed < 0) out_of_range(*this, *value, x, "u64");
  return x.as_unsigned;
}

std::optional<std::int64_t> GgufFile::find_i64(std::string_view key) const {
  const GgufValue* value = find_as(*this, key, false, is_integer, "an integer");
  if (value == nullptr) return std::nullopt;
  const Integer x = load_integer(bytes_, *value, 0);
  if (x.large) out_of_range(*this, *value, x, "i64");
  return x.as_signed;
}

std::optional<float> GgufFile::find_f32(std::string_view key) const {
  const GgufValue* value = find_as(*this, key, false, is_float, "f32");
  if (value == nullptr) return std::nullopt;
  return load_float(bytes_, *value, 0);
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
  const GgufValue* value = find_as(*this, key, false, is_bool, "bool");
  if (value == nullptr) return std::nullopt;
  return load_bool(*this, bytes_, *value, 0);
}

std::optional<std::string_view> GgufFile::find_string(std::string_view key) const {
  const GgufValue* value = find_as(*this, key, false, is_string, "string");
  if (value == nullptr) return std::nullopt;
  return gguf_string(bytes_, value->offset);
}

std::optional<std::vector<std::string_view>> GgufFile::find_strings(std::string_view key) const {
  const GgufValue* value = find_as(*this, key, true, is_string, "array of strings");
  if (value == nullptr) return std::nullopt;
  std::vector<std::string_view> strings;
  strings.reserve(value->count);
  std::size_t offset = value->offset;
  for (std::uint64_t i = 0; i < value->count; ++i) {
    strings.push_back(gguf_string(bytes_, offset));
    offset += sizeof(std::uint64_t) + strings.back().size();
  }
  return strings;
}

std::optional<std::vector<std::int32_t>> GgufFile::find_i32s(std::string_view key) const {
  const GgufValue* value = find_as(*this, key, true, is_integer, "array of integers");
  if (value == nullptr) return std::nullopt;
  std::vector<std::int32_t> numbers(value->count);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const Integer x = load_integer(bytes_, *value, i);
    if (x.large || !std::in_range<std::int32_t>(x.as_signed)) out_of_range(*this, *value, x, "i32");
    numbers[i] = static_cast<std::int32_t>(x.as_signed);
  }
  return numbers;
}

std::optional<std::vector<float>> GgufFile::find_f32s(std::string_view key) const {
  const GgufValue* value = find_as(*this, key, true, is_float, "array of f32");
  if (value == nullptr) return std::nullopt;
  std::vector<float> numbers(value->count);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = load_float(bytes_, *value, i);
  return numbers;
}

std::optional<std::vector<bool>> GgufFile::find_bools(std::string_view key) const {
  const GgufValue* value = find_as(*this, key, true, is_bool, "array of bools");
  if (value == nullptr) return std::nullopt;
  std::vector<bool> flags(value->count);
  for (std::size_t i = 0; i < flags.size(); ++i) flags[i] = load_bool(*this, bytes_, *value, i);
  return flags;
}

std::unique_ptr<WeightSource> open_gguf(std::shared_ptr<const GgufFile> file) {
  TensorCatalogue catalogue = file->catalogue();
  return std::make_unique<MappedSource>(std::move(catalogue), std::move(file));
}

}  // namespace tandem
