#pragma once
// Reading snapshots strictly: each value with its type and range, each error with the field's name. Include only in .cc
// files.

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/json.h"

namespace tandem {

/// What a snapshot has as text: others may print it as it is. Line breaks and tabs become spaces, other control
/// characters '?', the end of long texts is left out.
std::string one_line(const std::string& text);

/// A place in the file.
class SnapshotField {
 public:
  /// The whole file. `json` and `origin`, its path, must outlive this.
  SnapshotField(const Json& json, std::string_view origin) : SnapshotField(json, origin, std::string(kTop)) {}

  /// Throws kBadFile, as all below do.
  [[noreturn]] void refuse(std::string_view expected) const;
  [[noreturn]] void refuse_twice() const;

  SnapshotField at(const char* key) const;
  /// Of fields that came after the first files of their version.
  bool has(const char* key) const;
  std::vector<SnapshotField> elements(std::size_t most) const;
  /// Of an object whose keys are for the file to choose.
  std::vector<std::pair<std::string, SnapshotField>> members(std::size_t most) const;

  bool is_null() const { return json_.is_null(); }
  std::string text() const;
  bool boolean() const;
  double number() const;

  template <class T = int>
  T integer(T least, T most) const {
    const std::string expected = format("an integer of {} to {}", least, most);
    if (json_.is_number_unsigned()) {
      const auto value = json_.get<std::uint64_t>();
      if (most < 0 || value > static_cast<std::uint64_t>(most)) refuse(expected);
      if (least > 0 && value < static_cast<std::uint64_t>(least)) refuse(expected);
      return static_cast<T>(value);
    }
    if (!json_.is_number_integer() || least >= 0) refuse(expected);
    const auto value = json_.get<std::int64_t>();  // negative
    if (value < static_cast<std::int64_t>(least)) refuse(expected);
    return static_cast<T>(value);
  }

  template <class T, std::size_t n>
  T one_of(const std::array<T, n>& values) const {
    std::string known;
    for (const T value : values) {
      if (json_.is_string() && json_.get_ref<const std::string&>() == to_string(value)) return value;
      known += format("{}{}", known.empty() ? "" : ", ", to_string(value));
    }
    refuse("one of " + known);
  }

  /// One of backend_names().
  std::string backend() const;
  std::pair<int, int> compute_capability() const;

 private:
  SnapshotField(const Json& json, std::string_view origin, std::string name)
      : json_(json), origin_(origin), name_(std::move(name)) {}
  std::string inside(std::string_view key) const;
  std::string shown() const;

  static constexpr std::string_view kTop = "the whole";
  const Json& json_;
  std::string_view origin_;
  std::string name_;
};

}  // namespace tandem
