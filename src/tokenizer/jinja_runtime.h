#pragma once
// What one rendering owns: its limits and what is used of them, its namespaces, its clock. All values of a rendering
// are made here, so that none escapes the limits. One thread.

#include <deque>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/format.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/jinja_value.h"

namespace tandem::jinja {

/// Throws Failure with a formatted message.
template <class... A>
[[noreturn]] void raise(fmt::format_string<A...> text, A&&... args) {
  throw Failure{tandem::vformat(text, fmt::make_format_args(args...))};
}

class Runtime {
 public:
  static constexpr int kMaxDepth = 100;               ///< levels of nested containers
  static constexpr std::int64_t kMaxRange = 100'000;  ///< elements of range(), jinja2's own limit

  explicit Runtime(const ChatTemplateLimits& limits, std::optional<std::tm> now = {}) : limits_(limits), now_(now) {}

  /// Counts `n` units of work; throws Failure past the limit.
  void step(std::uint64_t n = 1);
  /// Counts `n` bytes of memory, and of work.
  void charge(std::size_t n);
  /// Throws Failure when a text of `size` bytes would be too long.
  void check_text(std::size_t size) const;
  /// out += text, within the limit of a text.
  void append(std::string& out, std::string_view text);

  Value text(std::string text);
  Value text(std::string_view text) { return this->text(std::string(text)); }
  Value text(const char* text) { return this->text(std::string(text)); }
  Value sequence(Sequence::Type type, std::vector<Value> items, std::string label = {});
  Value list(std::vector<Value> items) { return sequence(Sequence::Type::kList, std::move(items)); }
  Value generator(std::vector<Value> items) {
    return sequence(Sequence::Type::kGenerator, std::move(items), "<generator object>");
  }
  /// Later values replace earlier ones of an equal key.
  Value dict(std::vector<std::pair<Value, Value>> items);
  Value undefined(std::string why) { return Value(Undefined{std::make_shared<const std::string>(std::move(why))}); }
  Value method(std::string_view name, const Value& self, NativeFn native);
  Namespace* make_namespace();

  std::tm now() const;

  /// The elements of anything iterable; throws Failure for the rest.
  std::vector<Value> iterate(const Value& value);
  std::string str(const Value& value);

 private:
  const ChatTemplateLimits& limits_;
  std::optional<std::tm> now_;
  std::uint64_t steps_ = 0;
  std::size_t memory_ = 0;
  std::deque<Namespace> namespaces_;
};

/// Throws Failure because an undefined value was used for more than printing.
[[noreturn]] void raise_undefined(const Value& value);

/// Offset of `needle` in `text` from `begin` on, or npos. Counts the work, which may be the product of the lengths.
std::size_t find_text(Runtime& runtime, std::string_view text, std::string_view needle, std::size_t begin = 0);

/// Distributes arguments over parameters as Python does: one value for each name, undefined where not given. The first
/// `required` must be given.
std::vector<Value> bind(const Args& args, std::initializer_list<std::string_view> names, std::size_t required = 0);
/// The integer, or `otherwise` for undefined; throws Failure for other types.
std::int64_t to_integer(const Value& value, std::int64_t otherwise, std::string_view what);
/// The text, or `otherwise` for undefined; throws Failure for other types.
std::string to_text(const Value& value, std::string_view otherwise, std::string_view what);

}  // namespace tandem::jinja
