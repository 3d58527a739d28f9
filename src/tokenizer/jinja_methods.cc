// Methods of strings, lists, tuples and dicts, and loop.cycle. Those that would change a value stand here without a
// function, so that calling them says what is wrong.

#include <algorithm>
#include <array>

#include "tokenizer/jinja_natives.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace tandem::jinja {

std::string replace_text(Runtime& runtime, std::string_view text, std::string_view old, std::string_view with,
                         std::int64_t count) {
  std::string result;
  if (old.empty()) {  // before each character and at the end
    runtime.step(text.size());
    for (; count != 0; --count) {
      runtime.append(result, with);
      if (text.empty()) return result;
      const std::size_t size = character_bytes(text);
      result += text.substr(0, size);
      text.remove_prefix(size);
    }
    runtime.append(result, text);
    return result;
  }
  for (; count != 0; --count) {
    const std::size_t at = find_text(runtime, text, old);
    if (at == text.npos) break;
    runtime.append(result, text.substr(0, at));
    runtime.append(result, with);
    runtime.step();
    text.remove_prefix(at + old.size());
  }
  runtime.append(result, text);
  return result;
}

std::string center_text(Runtime& runtime, std::string_view text, std::int64_t width, std::string_view fill) {
  const auto length = static_cast<std::int64_t>(count_characters(text));
  if (width <= length) return std::string(text);
  runtime.check_text(static_cast<std::size_t>(width));
  const std::int64_t pad = width - length;
  // Python puts the odd one left when the width is odd.
  const std::int64_t left = pad / 2 + (pad & width & 1);
  std::string result;
  for (std::int64_t i = 0; i < left; ++i) result += fill;
  result += text;
  for (std::int64_t i = left; i < pad; ++i) result += fill;
  runtime.check_text(result.size());
  return result;
}

namespace {

using Type = Sequence::Type;

bool is_absent(const Value& value) {
  return value.is_undefined() || value.is_none();
}

template <std::string (*map)(std::string_view)>
Value map_text(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  return runtime.text(map(self.text()));
}

template <bool left, bool right>
Value strip(Runtime& runtime, const Value& self, const Args& args) {
  const Value characters = bind(args, {"chars"})[0];
  std::string_view text = self.text();
  if (is_absent(characters)) {
    if (left) text = strip_left(text);
    if (right) text = strip_right(text);
  } else {
    text = strip_characters(text, to_text(characters, "", "the argument of strip"), left, right);
  }
  return runtime.text(text);
}

Value texts(Runtime& runtime, const std::vector<std::string_view>& parts) {
  runtime.charge(parts.size() * sizeof(std::string_view));
  std::vector<Value> items;
  for (const std::string_view part : parts) items.push_back(runtime.text(part));
  return runtime.list(std::move(items));
}

/// split() without a separator: words, at most `max_splits` + 1 of them; the last keeps what is left.
std::vector<std::string_view> split_words(std::string_view text, std::int64_t max_splits) {
  std::vector<std::string_view> words;
  for (text = strip_left(text); !text.empty(); text = strip_left(text)) {
    if (static_cast<std::int64_t>(words.size()) == max_splits) {
      words.push_back(text);
      break;
    }
    std::size_t size = 0;
    while (size < text.size() && strip_left(text.substr(size)).size() == text.size() - size) {
      size += character_bytes(text.substr(size));
    }
    words.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return words;
}

/// The same from the right, in order of the text.
std::vector<std::string_view> split_words_right(std::string_view text, std::int64_t max_splits) {
  std::vector<std::string_view> words = split_words(text, -1);
  if (max_splits < 0 || static_cast<std::int64_t>(words.size()) <= max_splits + 1) return words;
  const std::size_t joined = words.size() - static_cast<std::size_t>(max_splits) - 1;
  const std::string_view head = text.substr(0, static_cast<std::size_t>(words[joined].end() - text.begin()));
  words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(joined));
  words[0] = head;
  return words;
}

std::vector<std::string_view> split_by(Runtime& runtime, std::string_view text, std::string_view separator,
                                       std::int64_t max_splits) {
  std::vector<std::string_view> parts;
  while (static_cast<std::int64_t>(parts.size()) != max_splits) {
    const std::size_t at = find_text(runtime, text, separator);
    if (at == text.npos) break;
    runtime.charge(sizeof(Value));
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.push_back(text);
  return parts;
}

std::vector<std::string_view> split_by_right(Runtime& runtime, std::string_view text, std::string_view separator,
                                             std::int64_t max_splits) {
  std::vector<std::string_view> parts;
  while (static_cast<std::int64_t>(parts.size()) != max_splits) {
    runtime.step(text.size() / 16 + 1);
    const std::size_t at = text.rfind(separator);
    if (at == text.npos) break;
    runtime.charge(sizeof(Value));
    parts.push_back(text.substr(at + separator.size()));
    text = text.substr(0, at);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

template <bool from_right>
Value split(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"sep", "maxsplit"});
  const std::int64_t max_splits = to_integer(values[1], -1, "maxsplit");
  const std::int64_t limit = max_splits < 0 ? -1 : max_splits;
  const std::string_view text = self.text();
  if (is_absent(values[0])) {
    runtime.charge(text.size());
    return texts(runtime, from_right ? split_words_right(text, limit) : split_words(text, limit));
  }
  const std::string separator = to_text(values[0], "", "the separator of split");
  if (separator.empty()) raise("empty separator");
  return texts(runtime, from_right ? split_by_right(runtime, text, separator, limit)
                                   : split_by(runtime, text, separator, limit));
}

template <bool from_right>
Value partition(Runtime& runtime, const Value& self, const Args& args) {
  const std::string separator = to_text(bind(args, {"sep"}, 1)[0], "", "the separator of partition");
  if (separator.empty()) raise("empty separator");
  const std::string_view text = self.text();
  runtime.step(text.size() / 16);
  const std::size_t at = from_right ? text.rfind(separator) : find_text(runtime, text, separator);
  std::array<std::string_view, 3> parts = {text, "", ""};
  if (at != text.npos) {
    parts = {text.substr(0, at), separator, text.substr(at + separator.size())};
  } else if (from_right) {
    parts = {"", "", text};
  }
  return runtime.sequence(Type::kTuple, {runtime.text(parts[0]), runtime.text(parts[1]), runtime.text(parts[2])});
}

Value split_lines_method(Runtime& runtime, const Value& self, const Args& args) {
  return texts(runtime, split_lines(self.text(), is_true(bind(args, {"keepends"})[0])));
}

/// The part of the text from character `start` to character `end`, and the byte it begins at.
std::string_view bounded(Runtime& runtime, const Value& self, const Value& start, const Value& end) {
  if (is_absent(start) && is_absent(end)) return self.text();
  const std::string_view text = self.text();
  runtime.step(text.size() / 16);
  const auto length = static_cast<std::int64_t>(count_characters(text));
  const auto offset = [&](const Value& value, std::int64_t otherwise) {
    std::int64_t index = value.is_none() ? otherwise : to_integer(value, otherwise, "a bound");
    index = std::clamp<std::int64_t>(index < 0 ? index + length : index, 0, length);
    std::size_t bytes = 0;
    for (; index > 0; --index) bytes += character_bytes(text.substr(bytes));
    return bytes;
  };
  const std::size_t begin = offset(start, 0);
  return text.substr(begin, std::max(offset(end, length), begin) - begin);
}

template <bool at_end>
Value has_affix(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"affix", "start", "end"}, 1);
  const std::string_view text = bounded(runtime, self, values[1], values[2]);
  const bool is_tuple = values[0].is_sequence() && values[0].sequence().type == Type::kTuple;
  for (const Value& affix : is_tuple ? values[0].sequence().items : std::vector<Value>{values[0]}) {
    if (!affix.is_text()) raise("{}() needs a string or a tuple of strings, not '{}'", args.callee, type_name(affix));
    if (at_end ? text.ends_with(affix.text()) : text.starts_with(affix.text())) return Value(true);
  }
  return Value(false);
}

template <bool at_end>
Value remove_affix(Runtime& runtime, const Value& self, const Args& args) {
  const std::string affix = to_text(bind(args, {"affix"}, 1)[0], "", "the affix");
  std::string_view text = self.text();
  if (at_end && text.ends_with(affix)) text.remove_suffix(affix.size());
  if (!at_end && text.starts_with(affix)) text.remove_prefix(affix.size());
  return runtime.text(text);
}

/// find, rfind, index and rindex.
template <bool from_right, bool must_exist>
Value find_method_of_text(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"sub", "start", "end"}, 1);
  if (values[0].is_undefined()) raise_undefined(values[0]);
  const std::string part = to_text(values[0], "", "the argument of find");
  const std::string_view text = bounded(runtime, self, values[1], values[2]);
  runtime.step(text.size() / 16);
  const std::size_t at = from_right ? text.rfind(part) : find_text(runtime, text, part);
  if (at == text.npos) {
    if (must_exist) raise("substring not found");
    return Value(std::int64_t{-1});
  }
  const auto bytes = static_cast<std::size_t>(text.data() - self.text().data()) + at;
  return Value(static_cast<std::int64_t>(count_characters(std::string_view(self.text()).substr(0, bytes))));
}

Value count_text(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"sub", "start", "end"}, 1);
  const std::string part = to_text(values[0], "", "the argument of count");
  std::string_view text = bounded(runtime, self, values[1], values[2]);
  if (part.empty()) return Value(static_cast<std::int64_t>(count_characters(text)) + 1);
  std::int64_t count = 0;
  for (std::size_t at = find_text(runtime, text, part); at != text.npos; at = find_text(runtime, text, part)) {
    runtime.step();
    ++count;
    text.remove_prefix(at + part.size());
  }
  return Value(count);
}

Value replace_method(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"old", "new", "count"}, 2);
  for (int i = 0; i < 2; ++i) {
    if (!values[i].is_text()) raise("replace() needs strings, not '{}'", type_name(values[i]));
  }
  return runtime.text(replace_text(runtime, self.text(), values[0].text(), values[1].text(),
                                   to_integer(values[2], -1, "the count of replace")));
}

Value join_method(Runtime& runtime, const Value& self, const Args& args) {
  std::string text;
  bool first = true;
  for (const Value& item : runtime.iterate(bind(args, {"iterable"}, 1)[0])) {
    if (!item.is_text()) raise("join() needs strings, not '{}'", type_name(item));
    if (!first) runtime.append(text, self.text());
    first = false;
    runtime.append(text, item.text());
  }
  return runtime.text(std::move(text));
}

/// True when there are characters and all pass.
template <bool (*test)(std::uint32_t)>
Value all_characters(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  runtime.step(self.text().size() / 16);
  std::string_view rest = self.text();
  const bool is_empty = rest.empty();
  while (!rest.empty() && test(code_point(rest.substr(0, character_bytes(rest))))) {
    rest.remove_prefix(character_bytes(rest));
  }
  return Value(!is_empty && rest.empty());
}

bool is_alphanumeric(std::uint32_t code) {
  return is_letter(code) || is_decimal_digit(code);
}

template <bool (*wanted)(std::uint32_t)>
Value all_cased(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  runtime.step(self.text().size() / 16);
  bool found = false;
  for (std::string_view rest = self.text(); !rest.empty(); rest.remove_prefix(character_bytes(rest))) {
    const std::uint32_t code = code_point(rest.substr(0, character_bytes(rest)));
    if (!is_cased(code)) continue;
    if (!wanted(code)) return Value(false);
    found = true;
  }
  return Value(found);
}

enum class Side { kLeft, kRight, kBoth };

/// ljust, rjust and center.
template <Side side>
Value justify(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"width", "fillchar"}, 1);
  const std::int64_t width = to_integer(values[0], 0, "the width");
  const std::string fill = to_text(values[1], " ", "the fill character");
  if (count_characters(fill) != 1) raise("the fill character must be exactly one character long");
  if (side == Side::kBoth) return runtime.text(center_text(runtime, self.text(), width, fill));
  runtime.check_text(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)));
  std::string pad;
  for (auto length = static_cast<std::int64_t>(count_characters(self.text())); length < width; ++length) pad += fill;
  return runtime.text(side == Side::kLeft ? self.text() + pad : pad + self.text());
}

Value fill_zeros(Runtime& runtime, const Value& self, const Args& args) {
  const std::int64_t width = to_integer(bind(args, {"width"}, 1)[0], 0, "the width");
  const std::string& text = self.text();
  const auto length = static_cast<std::int64_t>(count_characters(text));
  if (width <= length) return self;
  runtime.check_text(static_cast<std::size_t>(width));
  const std::size_t sign = text.starts_with('-') || text.starts_with('+');
  return runtime.text(text.substr(0, sign) + std::string(static_cast<std::size_t>(width - length), '0') +
                      text.substr(sign));
}

/// str.format with {}, {0} and {name}; no conversions and no format specifications.
Value format_method(Runtime& runtime, const Value& self, const Args& args) {
  std::string result;
  std::size_t next = 0;
  const std::string_view text = self.text();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '{' && text[i] != '}') {
      const std::size_t end = std::min(text.find_first_of("{}", i), text.size());
      runtime.append(result, text.substr(i, end - i));
      i = end - 1;
      continue;
    }
    if (i + 1 < text.size() && text[i + 1] == text[i]) {
      runtime.append(result, text.substr(i++, 1));
      continue;
    }
    const std::size_t end = text.find('}', i);
    if (text[i] == '}' || end == text.npos) raise("single '{}' in a format string", text.substr(i, 1));
    const std::string_view field = text.substr(i + 1, end - i - 1);
    i = end;
    if (field.find_first_of("!:.[{") != field.npos) raise("format() supports plain fields only, not '{{{}}}'", field);
    if (field.find_first_not_of("0123456789") == field.npos && field.size() < 4) {
      const std::size_t index = field.empty() ? next++ : std::stoul(std::string(field));
      if (index >= args.positional.size()) raise("format() has no argument {}", index);
      append_str(runtime, result, args.positional[index]);
      continue;
    }
    const auto at = std::find_if(args.named.begin(), args.named.end(), [&](const auto& a) { return a.first == field; });
    if (at == args.named.end()) raise("format() has no argument '{}'", field);
    append_str(runtime, result, at->second);
  }
  return runtime.text(std::move(result));
}

enum class Part { kKeys, kValues, kItems };

template <Part part>
Value view(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict().items) {
    items.push_back(
        part == Part::kKeys ? key : (part == Part::kValues ? value : runtime.sequence(Type::kTuple, {key, value})));
  }
  static constexpr std::array<const char*, 3> kLabels = {"dict_keys", "dict_values", "dict_items"};
  return runtime.sequence(Type::kView, std::move(items), kLabels[static_cast<std::size_t>(part)]);
}

Value get(Runtime& runtime, const Value& self, const Args& args) {
  if (!args.named.empty()) raise("get() takes no named arguments");
  const auto values = bind(args, {"key", "default"}, 1);
  if (const Value* item = find(runtime, self.dict(), values[0])) return *item;
  return args.positional.size() > 1 ? values[1] : Value(None{});
}

Value copy(Runtime&, const Value& self, const Args& args) {
  bind(args, {});
  return self;
}

Value index_of(Runtime& runtime, const Value& self, const Args& args) {
  const auto& items = self.sequence().items;
  const Value wanted = bind(args, {"value"}, 1)[0];
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (equal(runtime, items[i], wanted)) return Value(static_cast<std::int64_t>(i));
  }
  raise("the value is not in the {}", type_name(self));
}

Value count_items(Runtime& runtime, const Value& self, const Args& args) {
  const auto& items = self.sequence().items;
  const Value wanted = bind(args, {"value"}, 1)[0];
  return Value(static_cast<std::int64_t>(
      std::count_if(items.begin(), items.end(), [&](const Value& item) { return equal(runtime, item, wanted); })));
}

Value cycle(Runtime&, const Value& self, const Args& args) {
  if (!args.named.empty() || args.positional.empty()) raise("cycle() needs one or more values");
  return args.positional[self.as<LoopPtr>()->index0 % args.positional.size()];
}

constexpr Native kTextMethods[] = {
    {"capitalize", map_text<capitalize>},
    {"center", justify<Side::kBoth>},
    {"count", count_text},
    {"endswith", has_affix<true>},
    {"find", find_method_of_text<false, false>},
    {"format", format_method},
    {"index", find_method_of_text<false, true>},
    {"isalnum", all_characters<is_alphanumeric>},
    {"isalpha", all_characters<is_letter>},
    {"isdecimal", all_characters<is_decimal_digit>},
    {"isdigit", all_characters<is_decimal_digit>},
    {"islower", all_cased<is_lower>},
    {"isnumeric", all_characters<is_decimal_digit>},
    {"isspace", all_characters<is_space>},
    {"isupper", all_cased<is_upper>},
    {"join", join_method},
    {"ljust", justify<Side::kLeft>},
    {"lower", map_text<to_lower>},
    {"lstrip", strip<true, false>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"replace", replace_method},
    {"rfind", find_method_of_text<true, false>},
    {"rindex", find_method_of_text<true, true>},
    {"rjust", justify<Side::kRight>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", strip<false, true>},
    {"split", split<false>},
    {"splitlines", split_lines_method},
    {"startswith", has_affix<false>},
    {"strip", strip<true, true>},
    {"title", map_text<title>},
    {"upper", map_text<to_upper>},
    {"zfill", fill_zeros},
};

constexpr Native kDictMethods[] = {
    {"clear", nullptr},
    {"copy", copy},
    {"get", get},
    {"items", view<Part::kItems>},
    {"keys", view<Part::kKeys>},
    {"pop", nullptr},
    {"popitem", nullptr},
    {"setdefault", nullptr},
    {"update", nullptr},
    {"values", view<Part::kValues>},
};

constexpr Native kSequenceMethods[] = {
    {"count", count_items},
    {"index", index_of},
};

constexpr Native kListMethods[] = {
    {"append", nullptr}, {"clear", nullptr},   {"copy", copy},      {"count", count_items},
    {"extend", nullptr}, {"index", index_of},  {"insert", nullptr}, {"pop", nullptr},
    {"remove", nullptr}, {"reverse", nullptr}, {"sort", nullptr},
};

constexpr Native kLoopMethods[] = {{"cycle", cycle}};

std::span<const Native> methods_of(const Value& self) {
  if (self.is_text()) return kTextMethods;
  if (self.is_dict()) return kDictMethods;
  if (self.is<LoopPtr>()) return kLoopMethods;
  if (!self.is_sequence()) return {};
  if (self.sequence().type == Type::kList) return kListMethods;
  return self.sequence().type == Type::kTuple || self.sequence().type == Type::kRange
             ? std::span<const Native>(kSequenceMethods)
             : std::span<const Native>();
}

}  // namespace

const Native* find_method(const Value& self, std::string_view name) {
  for (const Native& method : methods_of(self)) {
    if (method.name == name) return &method;
  }
  return nullptr;
}

}  // namespace tandem::jinja
