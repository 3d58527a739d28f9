// The filters on single values, and the lookup of all filters.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "tokenizer/jinja_json.h"
#include "tokenizer/jinja_natives.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace tandem::jinja {
namespace {

/// A filter that maps text to text.
template <std::string (*map)(std::string_view)>
Value text_filter(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  return runtime.text(map(runtime.str(self)));
}

std::string same(std::string_view text) {
  return std::string(text);
}

/// The filter's title, unlike the method's, begins words after spaces and -([{< only.
std::string title_words(std::string_view text) {
  std::string result;
  bool at_start = true;
  while (!text.empty()) {
    const std::string_view character = text.substr(0, character_bytes(text));
    text.remove_prefix(character.size());
    result += at_start ? to_upper(character) : to_lower(character);
    at_start = is_space(code_point(character)) || std::string_view("-([{<").find(character) != std::string_view::npos;
  }
  return result;
}

std::string escape_html(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&#34;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

Value trim(Runtime& runtime, const Value& self, const Args& args) {
  const Value characters = bind(args, {"chars"})[0];
  const std::string text = runtime.str(self);
  if (characters.is_undefined() || characters.is_none()) return runtime.text(strip_left(strip_right(text)));
  return runtime.text(strip_characters(text, to_text(characters, "", "the argument of trim"), true, true));
}

Value default_value(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"default_value", "boolean"});
  if (!self.is_undefined() && !(is_true(values[1]) && !is_true(self))) return self;
  return args.positional.empty() && values[0].is_undefined() ? runtime.text("") : values[0];
}

Value length(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  if (self.is_undefined()) return Value(std::int64_t{0});
  if (self.is_dict()) return Value(static_cast<std::int64_t>(self.dict().items.size()));
  if (self.is_text()) {
    runtime.step(self.text().size() / 16);
    return Value(static_cast<std::int64_t>(count_characters(self.text())));
  }
  if (!self.is_sequence() || self.sequence().type == Sequence::Type::kGenerator) {
    raise("object of type '{}' has no length", type_name(self));
  }
  return Value(static_cast<std::int64_t>(self.sequence().items.size()));
}

/// A number as Python's int() and float() read it: white space around it, "_" between digits.
std::string number_text(std::string_view text) {
  std::string result;
  text = strip_left(strip_right(text));
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool between = i > 0 && i + 1 < text.size() && text[i - 1] != '_' && text[i + 1] != '_';
    if (text[i] != '_' || !between) result += text[i];
  }
  return result;
}

std::optional<double> parse_float(std::string_view text) {
  const std::string number = number_text(text);
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (end != number.data() + number.size() || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    const bool is_tiny = number.find("e-") != number.npos || number.find("E-") != number.npos;
    value = is_tiny ? 0.0 : (number[0] == '-' ? -1 : 1) * std::numeric_limits<double>::infinity();
  }
  return value;
}

Value to_int(Runtime&, const Value& self, const Args& args) {
  const auto values = bind(args, {"default", "base"});
  const Value otherwise = values[0].is_undefined() ? Value(std::int64_t{0}) : values[0];
  const std::int64_t base = to_integer(values[1], 10, "the base of int");
  if (self.is_undefined()) raise_undefined(self);
  if (self.is_integer()) return Value(self.integer());
  double value = 0;
  if (self.is_text()) {
    std::string digits = number_text(self.text());
    if (base < 2 || base > 36) raise("the base of int must be from 2 to 36");
    const std::size_t sign = digits.starts_with('-');
    if (digits.size() > sign + 2 && digits[sign] == '0') {
      const char kind = static_cast<char>(digits[sign + 1] | 0x20);
      if ((kind == 'x' && base == 16) || (kind == 'o' && base == 8) || (kind == 'b' && base == 2))
        digits.erase(sign, 2);
    }
    std::int64_t integer = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), integer, static_cast<int>(base));
    if (end == digits.data() + digits.size() && !digits.empty()) {
      if (error == std::errc()) return Value(integer);
      if (error == std::errc::result_out_of_range) raise("the integer {} has more than 64 bits", digits);
    }
    const std::optional<double> number = parse_float(self.text());
    if (!number) return otherwise;
    value = *number;
  } else if (self.is<double>()) {
    value = self.as<double>();
  } else {
    return otherwise;
  }
  if (!std::isfinite(value)) return otherwise;
  if (!(value > -0x1p63 && value < 0x1p63)) raise("the integer {} has more than 64 bits", float_repr(value));
  return Value(static_cast<std::int64_t>(value));
}

Value to_float(Runtime&, const Value& self, const Args& args) {
  const auto values = bind(args, {"default"});
  if (self.is_undefined()) raise_undefined(self);
  if (self.is_number()) return Value(self.number());
  const std::optional<double> number = self.is_text() ? parse_float(self.text()) : std::nullopt;
  if (number) return Value(*number);
  return values[0].is_undefined() ? Value(0.0) : values[0];
}

Value absolute(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  if (self.is_number() && self.number() < 0) return unary(runtime, "-", self);
  return unary(runtime, "+", self);
}

Value round(Runtime&, const Value& self, const Args& args) {
  const auto values = bind(args, {"precision", "method"});
  const std::int64_t precision = to_integer(values[0], 0, "the precision of round");
  const std::string method = to_text(values[1], "common", "the method of round");
  if (self.is_undefined()) raise_undefined(self);
  if (!self.is_number()) raise("a '{}' cannot be rounded", type_name(self));
  if (method == "common") {
    if (self.is_integer() && precision >= 0) return Value(self.integer());
    const double x = self.number();
    if (!std::isfinite(x) || precision > 300) return self;
    if (precision >= 0) {
      // Through decimal digits, which are rounded correctly, as Python does.
      char buffer[1024];
      const int size = std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), x);
      double rounded = 0;
      std::from_chars(buffer, buffer + size, rounded);
      return Value(rounded);
    }
    const double scale = std::pow(10.0, static_cast<double>(std::max<std::int64_t>(precision, -300)) * -1);
    const double rounded = std::nearbyint(x / scale) * scale;
    if (self.is_integer() && std::fabs(rounded) < 0x1p62) return Value(static_cast<std::int64_t>(rounded));
    return Value(rounded);
  }
  if (method != "ceil" && method != "floor") raise("the method of round must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(std::clamp<std::int64_t>(precision, -300, 300)));
  const double scaled = self.number() * scale;
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Value replace(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"old", "new", "count"}, 2);
  const std::int64_t count = values[2].is_none() ? -1 : to_integer(values[2], -1, "the count of replace");
  return runtime.text(replace_text(runtime, runtime.str(self), runtime.str(values[0]), runtime.str(values[1]), count));
}

Value indent(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"width", "first", "blank"});
  std::string indention;
  if (values[0].is_text()) {
    indention = values[0].text();
  } else {
    indention.assign(
        static_cast<std::size_t>(std::clamp<std::int64_t>(to_integer(values[0], 4, "the width of indent"), 0, 10000)),
        ' ');
  }
  const std::string text = runtime.str(self) + "\n";
  std::string result;
  bool is_first = true;
  for (const std::string_view line : split_lines(text, false)) {
    if (!is_first) runtime.append(result, "\n");
    const bool wanted = is_first ? is_true(values[1]) : (!line.empty() || is_true(values[2]));
    if (wanted) runtime.append(result, indention);
    runtime.append(result, line);
    is_first = false;
  }
  return runtime.text(std::move(result));
}

Value format_filter(Runtime& runtime, const Value& self, const Args& args) {
  std::vector<std::pair<Value, Value>> named;
  for (const auto& [name, value] : args.named) named.emplace_back(runtime.text(name), value);
  if (!named.empty() && !args.positional.empty()) raise("format takes positional or named arguments, not both");
  const Value values =
      named.empty() ? runtime.sequence(Sequence::Type::kTuple, args.positional) : runtime.dict(std::move(named));
  return runtime.text(format_percent(runtime, runtime.str(self), values));
}

Value center(Runtime& runtime, const Value& self, const Args& args) {
  const std::int64_t width = to_integer(bind(args, {"width"})[0], 80, "the width of center");
  return runtime.text(center_text(runtime, runtime.str(self), width, " "));
}

Value word_count(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  const std::string text = runtime.str(self);
  std::int64_t count = 0;
  bool in_word = false;
  for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(character_bytes(rest))) {
    const std::uint32_t code = code_point(rest.substr(0, character_bytes(rest)));
    const bool is_word = is_letter(code) || is_decimal_digit(code) || code == '_';
    count += is_word && !in_word;
    in_word = is_word;
  }
  return Value(count);
}

constexpr Native kFilters[] = {
    {"abs", absolute},
    {"capitalize", text_filter<capitalize>},
    {"center", center},
    {"count", length},
    {"d", default_value},
    {"default", default_value},
    {"e", text_filter<escape_html>},
    {"escape", text_filter<escape_html>},
    {"float", to_float},
    {"forceescape", text_filter<escape_html>},
    {"format", format_filter},
    {"indent", indent},
    {"int", to_int},
    {"length", length},
    {"lower", text_filter<to_lower>},
    {"replace", replace},
    {"round", round},
    {"safe", text_filter<same>},
    {"string", text_filter<same>},
    {"title", text_filter<title_words>},
    {"tojson", tojson_filter},
    {"trim", trim},
    {"upper", text_filter<to_upper>},
    {"wordcount", word_count},
};

}  // namespace

NativeFn find_filter(std::string_view name) {
  for (const std::span<const Native> table : {std::span<const Native>(kFilters), sequence_filters()}) {
    for (const Native& filter : table) {
      if (filter.name == name) return filter.function;
    }
  }
  return nullptr;
}

}  // namespace tandem::jinja
