#include "tokenizer/jinja_json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tokenizer/jinja_text.h"

namespace tandem::jinja {
namespace {

/// Takes the parser's events; so the order of keys is kept and nothing recurses.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(Runtime& runtime) : runtime_(runtime) {}

  Value result() { return std::move(result_); }

  bool null() override { return add(Value(None{})); }
  bool boolean(bool value) override { return add(Value(value)); }
  bool number_integer(number_integer_t value) override { return add(Value(std::int64_t{value})); }
  bool number_unsigned(number_unsigned_t value) override {
    const bool fits = value <= static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max());
    return add(fits ? Value(static_cast<std::int64_t>(value)) : Value(static_cast<double>(value)));
  }
  bool number_float(number_float_t value, const string_t&) override { return add(Value(double{value})); }
  bool string(string_t& value) override { return add(runtime_.text(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(true); }
  bool start_array(std::size_t) override { return open(false); }
  bool key(string_t& name) override {
    open_.back().key = runtime_.text(std::move(name));
    return true;
  }
  bool end_array() override {
    std::vector<Value> items = std::move(open_.back().items);
    open_.pop_back();
    return add(runtime_.list(std::move(items)));
  }
  bool end_object() override {
    auto members = std::move(open_.back().members);
    open_.pop_back();
    return add(runtime_.dict(std::move(members)));
  }
  bool parse_error(std::size_t byte, const std::string&, const nlohmann::json::exception& error) override {
    raise("broken JSON at byte {}: {}", byte, error.what());
  }

 private:
  struct Open {
    bool is_object;
    Value key{};
    std::vector<Value> items{};
    std::vector<std::pair<Value, Value>> members{};
  };

  bool open(bool is_object) {
    if (open_.size() >= Runtime::kMaxDepth) raise("JSON is nested deeper than {} levels", Runtime::kMaxDepth);
    open_.push_back({.is_object = is_object});
    return true;
  }

  bool add(Value value) {
    runtime_.charge(2 * sizeof(Value));
    if (open_.empty()) {
      result_ = std::move(value);
    } else if (open_.back().is_object) {
      open_.back().members.emplace_back(std::move(open_.back().key), std::move(value));
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }

  Runtime& runtime_;
  std::vector<Open> open_;
  Value result_;
};

class Writer {
 public:
  Writer(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  std::string run(const Value& value) {
    write(value, 0);
    return std::move(out_);
  }

 private:
  void put(std::string_view text) { runtime_.append(out_, text); }

  void put_line(int level) {
    if (!style_.multiline) return;
    put("\n");
    for (int i = 0; i < level; ++i) put(style_.indent);
  }

  template <class Items, class Write>
  void write_items(char open, const Items& items, char close, int level, Write write_item) {
    put({&open, 1});
    bool first = true;
    for (const auto& item : items) {
      if (!first) put(style_.item_separator);
      first = false;
      put_line(level + 1);
      write_item(item);
    }
    if (!first) put_line(level);
    put({&close, 1});
  }

  void write(const Value& value, int level) {
    runtime_.step();
    if (value.is_text()) return write_text(value.text());
    if (value.is_none() || value.is_number()) return put(scalar(value));
    const bool is_array = value.is_sequence() && (value.sequence().type == Sequence::Type::kList ||
                                                  value.sequence().type == Sequence::Type::kTuple);
    if (is_array) {
      return write_items('[', value.sequence().items, ']', level, [&](const Value& item) { write(item, level + 1); });
    }
    if (!value.is_dict()) raise("Object of type {} is not JSON serializable", type_name(value));
    const auto write_member = [&](const std::pair<Value, Value>& member) {
      const Value& key = member.first;
      if (!key.is_text() && !key.is_none() && !key.is_number()) {
        raise("keys must be str, int, float, bool or None, not {}", type_name(key));
      }
      write_text(key.is_text() ? key.text() : scalar(key));
      put(style_.key_separator);
      write(member.second, level + 1);
    };
    if (!style_.sort_keys) return write_items('{', value.dict().items, '}', level, write_member);
    auto sorted = value.dict().items;
    std::stable_sort(sorted.begin(), sorted.end(),
                     [&](const auto& a, const auto& b) { return compare(runtime_, a.first, b.first) < 0; });
    write_items('{', sorted, '}', level, write_member);
  }

  static std::string scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (value.is<bool>()) return value.as<bool>() ? "true" : "false";
    if (value.is_integer()) return format("{}", value.integer());
    const double x = value.as<double>();
    if (std::isnan(x)) return "NaN";
    if (std::isinf(x)) return x < 0 ? "-Infinity" : "Infinity";
    return float_repr(x);
  }

  void write_text(std::string_view text) {
    static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
    static constexpr std::string_view kLetters = "\"\\nrtfb";
    std::string quoted = "\"";
    while (!text.empty()) {
      const std::string_view character = text.substr(0, character_bytes(text));
      text.remove_prefix(character.size());
      const std::uint32_t code = code_point(character);
      if (const std::size_t i = kEscaped.find(character); i != kEscaped.npos) {
        quoted += '\\';
        quoted += kLetters[i];
      } else if (code < 0x20 || (style_.ensure_ascii && code == 0x7f)) {
        quoted += format("\\u{:04x}", code);
      } else if (style_.ensure_ascii && code >= 0x10000) {
        quoted += format("\\u{:04x}\\u{:04x}", 0xd800 + ((code - 0x10000) >> 10), 0xdc00 + (code & 0x3ff));
      } else if (style_.ensure_ascii && code >= 0x80) {
        quoted += format("\\u{:04x}", code);
      } else {
        quoted += character;
      }
    }
    quoted += '"';
    put(quoted);
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

Value parse_json(Runtime& runtime, std::string_view text) {
  Builder builder(runtime);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return builder.result();
}

std::string to_json(Runtime& runtime, const Value& value, const JsonStyle& style) {
  return Writer(runtime, style).run(value);
}

Value tojson_filter(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style{.ensure_ascii = is_true(values[0]), .sort_keys = is_true(values[3])};
  if (values[1].is_text() || values[1].is_integer()) {
    style.multiline = true;
    style.item_separator = std::string(",");  // GCC 12 warns of an overlap when a literal is assigned
    if (values[1].is_text()) {
      style.indent = values[1].text();
    } else {
      style.indent.assign(static_cast<std::size_t>(std::clamp<std::int64_t>(values[1].integer(), 0, 1000)), ' ');
    }
  } else if (!values[1].is_undefined() && !values[1].is_none()) {
    raise("the indent of tojson must be an integer or a string, not '{}'", type_name(values[1]));
  }
  if (!values[2].is_undefined() && !values[2].is_none()) {
    const std::vector<Value> separators = runtime.iterate(values[2]);
    if (separators.size() != 2) raise("the separators of tojson must be two strings");
    style.item_separator = to_text(separators[0], "", "a separator");
    style.key_separator = to_text(separators[1], "", "a separator");
  }
  return runtime.text(to_json(runtime, self, style));
}

}  // namespace tandem::jinja
