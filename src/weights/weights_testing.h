#pragma once
// For tests: files of the weight formats, put together byte by byte so that every byte can be wrong.

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tandem::test {

/// A folder of its own that goes when the test ends.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tandem-weights-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) fail(ErrorKind::kUnreadable, "mkdtemp {}", pattern);
    path_ = pattern;
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(std::string_view name, std::string_view content) const {
    const std::filesystem::path file = path_ / name;
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }

 private:
  std::filesystem::path path_;
};

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

template <class T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

template <class T>
std::string raw(const std::vector<T>& values) {
  std::string bytes;
  for (const T& value : values) bytes += raw(value);
  return bytes;
}

inline std::string safetensors_file(std::string_view header, std::string_view data) {
  return raw(std::uint64_t{header.size()}) + std::string(header) + std::string(data);
}

/// Writes GGUF files: metadata in the order of the calls, then tensors.
class GgufWriter {
 public:
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;

  static std::string string(std::string_view text) { return raw(std::uint64_t{text.size()}) + std::string(text); }

  /// A metadata value of type number `type` (GgufType's) and these bytes.
  GgufWriter& value(std::string_view key, std::uint32_t type, std::string_view content) {
    values_ += string(key) + raw(type) + std::string(content);
    ++num_values;
    return *this;
  }
  /// `sizes` innermost first, as the file has them. The data is placed at the next aligned offset.
  GgufWriter& tensor(std::string_view name, std::vector<std::uint64_t> sizes, std::uint32_t type,
                     std::string_view data) {
    pad(data_);
    tensor_at(name, sizes, type, data_.size());
    data_ += data;
    return *this;
  }
  /// Only the description of a tensor, at this offset.
  GgufWriter& tensor_at(std::string_view name, const std::vector<std::uint64_t>& sizes, std::uint32_t type,
                        std::uint64_t offset) {
    infos_ += string(name) + raw(static_cast<std::uint32_t>(sizes.size())) + raw(sizes) + raw(type) + raw(offset);
    ++num_tensors;
    return *this;
  }
  std::string file() const {
    std::string bytes = "GGUF" + raw(version) + raw(num_tensors) + raw(num_values) + values_ + infos_;
    pad(bytes);
    return bytes + data_;
  }

  std::uint64_t num_values = 0;
  std::uint64_t num_tensors = 0;

 private:
  void pad(std::string& bytes) const { bytes.resize((bytes.size() + alignment - 1) / alignment * alignment); }
  std::string values_;
  std::string infos_;
  std::string data_;
};

/// Expects body() to throw an Error of this kind whose message holds every one of `parts`.
template <class Body>
void expect_error(ErrorKind kind, const std::vector<std::string>& parts, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "no error; expected one that says: " << (parts.empty() ? "" : parts[0]);
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.kind()), to_string(kind)) << error.what();
    const std::string all = std::string(error.what()) + "\nhint: " + error.hint();
    for (const std::string& part : parts) EXPECT_NE(all.find(part), std::string::npos) << part << "\nnot in: " << all;
  }
}

}  // namespace tandem::test
