#pragma once
// A file mapped read-only into memory. Pages are read on first use. Movable; safe to read from any thread.

#include <cstddef>
#include <filesystem>
#include <span>

namespace tandem {

class MappedFile {
 public:
  MappedFile() = default;
  /// Throws kNotFound, kUnreadable or, for a folder or device, kBadFile; each names the path. An empty file maps to an
  /// empty span.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace tandem
