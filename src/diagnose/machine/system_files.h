#pragma once
// Files of /proc, /sys, /dev and /etc below a root, read so that none of them can hold us up or fill the memory.

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "diagnose/machine/machine_facts.h"

namespace tandem {

/// Lists of facts end here: no machine has as many, and a file that nobody could read back helps nobody.
inline constexpr std::size_t kMaxListedFacts = 4096;

class SystemFiles {
 public:
  /// What cannot be read goes to `unread`.
  SystemFiles(std::filesystem::path root, std::vector<Unread>& unread) : root_(std::move(root)), unread_(unread) {}

  /// Whether this is the machine that we run on.
  bool is_ours() const { return root_ == "/"; }
  /// Where `path`, "/proc/meminfo", is.
  std::filesystem::path place(std::string_view path) const { return root_ / path.substr(1); }
  bool exists(std::string_view path) const;
  /// Names in a folder, sorted; none when it is not there.
  std::vector<std::string> names(std::string_view folder) const;
  /// The last part of what a link points to; empty: there is none.
  std::string link_end(std::string_view path) const;

  static constexpr std::size_t kMost = 64 << 10;
  /// The first `most` bytes. nullopt when there is no such file, which is not noted, or when it cannot be read, which
  /// is. Does not wait for pipes or devices.
  std::optional<std::string> read(std::string_view path, std::size_t most = kMost) const;
  /// The last `most` bytes of a log.
  std::optional<std::string> read_end(std::string_view path, std::size_t most) const;
  /// The same as read(), and an absent file is noted as well.
  std::optional<std::string> need(std::string_view path, std::size_t most = kMost) const;
  /// The first line, without white space round it; empty: none.
  std::string line(std::string_view path) const;

  void note(std::string_view source, std::string_view reason) const;

 private:
  std::optional<std::string> read_part(std::string_view path, std::size_t most, bool end, int& error) const;
  std::filesystem::path root_;
  std::vector<Unread>& unread_;
};

std::string_view trimmed(std::string_view text);
std::vector<std::string_view> split(std::string_view text, char separator);
/// Without empty ones between white space.
std::vector<std::string_view> words(std::string_view text);
// Parts of a text that is gone.
std::vector<std::string_view> split(std::string&& text, char separator) = delete;
std::vector<std::string_view> words(std::string&& text) = delete;

/// All of `text`, or nullopt.
template <class T>
std::optional<T> number(std::string_view text, int base = 10) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}
template <>
inline std::optional<double> number<double>(std::string_view text, int) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace tandem
