#include "base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

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

[[noreturn]] void cannot_write(const std::filesystem::path& path) {
  fail_with_hint(ErrorKind::kUnreadable, format("cannot write {}: {}", path.string(), std::strerror(errno)),
                 "check the folder, its permissions, and the room on the disk");
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

NewFile::NewFile(const std::filesystem::path& path) : path_(path) {
  if (file_exists(path)) {
    if (type_of(path) != std::filesystem::file_type::regular) {
      fail_with_hint(ErrorKind::kUnreadable, format("cannot write {}: it is no plain file", path.string()),
                     "give the name of a file");
    }
    path_ = std::filesystem::canonical(path);  // a link stays, and leads to the new file
  }
  temporary_ = path_;
  temporary_ += format(".{}.tmp", ::getpid());
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) cannot_write(path_);
}

NewFile::~NewFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void NewFile::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) cannot_write(path_);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void NewFile::commit() {
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) cannot_write(path_);
  temporary_.clear();
}

}  // namespace tandem
