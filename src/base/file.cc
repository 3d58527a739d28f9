#include "base/file.h"

#include <system_error>

#include "base/error.h"
#include "base/mapped_file.h"

namespace tandem {
namespace {

std::filesystem::file_type type_of(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::status_known(status)) {
    fail_with_hint(ErrorKind::kUnreadable, format("cannot look at {}: {}", path.string(), error.message()),
                   "check the name, its links, and the permissions of the folders above it");
  }
  return status.type();
}

}  // namespace

bool file_exists(const std::filesystem::path& path) {
  return type_of(path) != std::filesystem::file_type::not_found;
}

bool folder_exists(const std::filesystem::path& path) {
  return type_of(path) == std::filesystem::file_type::directory;
}

std::string read_text_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace tandem
