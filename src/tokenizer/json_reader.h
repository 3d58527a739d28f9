#pragma once
// Reading fields of a JSON file whose every error names file and field. Include only in .cc files.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/quote.h"
#include "tokenizer/other_tokenizer_hint.h"

namespace tandem {

/// A value of a JSON file and the way to it, e.g. "tokenizer.json: pre_tokenizer.pretokenizers[1].type". A value type:
/// the file's Json outlives it. All errors are kBadFile unless refuse() is called.
class JsonField {
 public:
  JsonField(const Json& root, std::string file) : value_(&root), place_(std::move(file) + ":") {}

  const Json& value() const { return *value_; }
  /// File and field for messages.
  const std::string& place() const { return place_; }

  /// The member `key` of an object; null members count as absent.
  std::optional<JsonField> find(const std::string& key) const {
    require(value_->is_object(), "an object");
    const auto found = value_->find(key);
    if (found == value_->end() || found->is_null()) return std::nullopt;
    const std::string separator = place_.ends_with(':') ? " " : ".";
    return JsonField(&*found, place_ + separator + printable(key));
  }
  JsonField at(const std::string& key) const {
    if (auto found = find(key)) return *found;
    fail(ErrorKind::kBadFile, "{}{} {} is missing", place_, place_.ends_with(':') ? "" : ":", quote(key));
  }

  std::size_t size() const {
    require(value_->is_array(), "a list");
    return value_->size();
  }
  JsonField operator[](std::size_t index) const {
    return JsonField(&(*value_)[index], tandem::format("{}[{}]", place_, index));
  }

  const std::string& string() const {
    require(value_->is_string(), "a string");
    return *value_->get_ptr<const std::string*>();
  }
  bool boolean() const {
    require(value_->is_boolean(), "true or false");
    return *value_->get_ptr<const bool*>();
  }
  std::int64_t integer() const {
    require(value_->is_number_integer() && (!value_->is_number_unsigned() || value_->get<std::uint64_t>() <= INT64_MAX),
            "an integer");
    return value_->get<std::int64_t>();
  }
  bool boolean_or(const std::string& key, bool otherwise) const {
    const auto found = find(key);
    return found ? found->boolean() : otherwise;
  }

  /// Throws kUnsupported with the value. The tokenizer's files are all that is read this way.
  [[noreturn]] void refuse(std::string_view reason) const {
    fail_with_hint(ErrorKind::kUnsupported,
                   tandem::format("{}: {} is not supported{}{}", place_, printed(), reason.empty() ? "" : ": ", reason),
                   kOtherTokenizerHint);
  }
  /// Throws kBadFile with the value unless `holds`.
  void require(bool holds, std::string_view wanted) const {
    if (!holds) fail(ErrorKind::kBadFile, "{}: expected {}, found {}", place_, wanted, printed());
  }

 private:
  JsonField(const Json* value, std::string place) : value_(value), place_(std::move(place)) {}
  std::string printed() const {
    if (value_->is_structured())
      return tandem::format("{} of {}", value_->is_array() ? "a list" : "an object", value_->size());
    std::string text = json_ascii(*value_);
    return text.size() <= 80 ? text : text.substr(0, 80) + "...";
  }

  const Json* value_;
  std::string place_;
};

}  // namespace tandem
