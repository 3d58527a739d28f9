#include "base/dtype.h"

#include <cctype>
#include <string>

#include "base/error.h"

namespace tandem {

const DTypeInfo& dtype_info(DType dtype) {
  static constexpr DTypeInfo kInfo[] = {
      {"f32", 1, 4},      {"f16", 1, 2},      {"bf16", 1, 2},     {"i32", 1, 4},    {"u8", 1, 1},
      {"q4_0", 32, 18},   {"q4_1", 32, 20},   {"q5_0", 32, 22},   {"q5_1", 32, 24}, {"q8_0", 32, 34},
      {"q4_k", 256, 144}, {"q5_k", 256, 176}, {"q6_k", 256, 210},
  };
  return kInfo[static_cast<int>(dtype)];
}

std::string_view to_string(DType dtype) {
  return dtype_info(dtype).name;
}

std::optional<DType> parse_dtype(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (int i = 0; i <= static_cast<int>(DType::kQ6_K); ++i) {
    if (dtype_info(static_cast<DType>(i)).name == lower) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::size_t dtype_bytes(DType dtype, std::int64_t count) {
  const DTypeInfo& info = dtype_info(dtype);
  TANDEM_CHECK(count >= 0 && count % info.block_size == 0, "{} elements of {}", count, info.name);
  return static_cast<std::size_t>(count / info.block_size) * static_cast<std::size_t>(info.block_bytes);
}

}  // namespace tandem
