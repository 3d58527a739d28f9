#include "diagnose/machine/system_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace tandem {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

}  // namespace

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kSpace);
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t end = text.find(separator); end != text.npos; end = text.find(separator)) {
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  parts.push_back(text);
  return parts;
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> found;
  for (std::size_t begin = text.find_first_not_of(kSpace); begin != text.npos; begin = text.find_first_not_of(kSpace)) {
    text.remove_prefix(begin);
    const std::size_t end = std::min(text.size(), text.find_first_of(kSpace));
    found.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return found;
}

bool SystemFiles::exists(std::string_view path) const {
  std::error_code error;
  return std::filesystem::exists(place(path), error);
}

std::vector<std::string> SystemFiles::names(std::string_view folder) const {
  std::vector<std::string> found;
  std::error_code error;
  std::filesystem::directory_iterator entries(place(folder), error);
  for (const std::filesystem::directory_iterator end; !error && entries != end; entries.increment(error)) {
    if (found.size() == kMaxListedFacts) {
      note(folder, "more entries than are looked at");
      break;
    }
    found.push_back(entries->path().filename().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) note(folder, error.message());
  std::sort(found.begin(), found.end());
  return found;
}

std::string SystemFiles::link_end(std::string_view path) const {
  std::error_code error;
  return std::filesystem::read_symlink(place(path), error).filename().string();
}

std::optional<std::string> SystemFiles::read_part(std::string_view path, std::size_t most, bool end, int& error) const {
  const int file = open(place(path).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  error = errno;
  if (file < 0) return std::nullopt;
  if (end) {
    const off_t size = lseek(file, 0, SEEK_END);
    lseek(file, std::max<off_t>(0, size - static_cast<off_t>(most)), SEEK_SET);
  }
  std::string text;
  for (error = 0; text.size() < most;) {
    const std::size_t before = text.size();
    text.resize(std::min(most, before + (16 << 10)));
    const ssize_t got = ::read(file, text.data() + before, text.size() - before);
    const int failure = got < 0 ? errno : 0;
    text.resize(before + static_cast<std::size_t>(std::max<ssize_t>(0, got)));
    // The log of the kernel: at its end, and where it was overwritten meanwhile.
    if (failure == EAGAIN || got == 0) break;
    if (failure == EINVAL && before > 0) break;  // the next message is longer than what is left of `most`
    if (failure == EPIPE || failure == EINTR) continue;
    if (failure != 0) {
      error = failure;
      break;
    }
  }
  close(file);
  if (error != 0) return std::nullopt;
  return text;
}

std::optional<std::string> SystemFiles::read(std::string_view path, std::size_t most) const {
  int error = 0;
  std::optional<std::string> text = read_part(path, most, false, error);
  if (!text && error != ENOENT && error != ENOTDIR) note(path, std::generic_category().message(error));
  return text;
}

std::optional<std::string> SystemFiles::read_end(std::string_view path, std::size_t most) const {
  int error = 0;
  std::optional<std::string> text = read_part(path, most, true, error);
  if (!text) note(path, std::generic_category().message(error));
  return text;
}

std::optional<std::string> SystemFiles::need(std::string_view path, std::size_t most) const {
  int error = 0;
  std::optional<std::string> text = read_part(path, most, false, error);
  if (!text) note(path, std::generic_category().message(error));
  return text;
}

std::string SystemFiles::line(std::string_view path) const {
  const std::optional<std::string> text = read(path);
  return text ? std::string(trimmed(std::string_view(*text).substr(0, text->find('\n')))) : "";
}

void SystemFiles::note(std::string_view source, std::string_view reason) const {
  if (unread_.size() < kMaxListedFacts)
    unread_.push_back({.source = std::string(source), .reason = std::string(reason)});
}

}  // namespace tandem
