// The global functions: range, dict, namespace, raise_exception, strftime_now.

#include <algorithm>
#include <array>

#include "tokenizer/jinja_natives.h"
#include "tokenizer/jinja_runtime.h"

namespace tandem::jinja {
namespace {

Value range(Runtime& runtime, const Value&, const Args& args) {
  const auto values = bind(args, {"start", "stop", "step"}, 1);
  const bool one_argument = values[1].is_undefined();
  const std::int64_t begin = one_argument ? 0 : to_integer(values[0], 0, "an argument of range");
  const std::int64_t end = to_integer(one_argument ? values[0] : values[1], 0, "an argument of range");
  const std::int64_t step = to_integer(values[2], 1, "an argument of range");
  if (step == 0) raise("range() arg 3 must not be zero");
  std::vector<Value> items;
  std::int64_t next = begin;
  while (step > 0 ? next < end : next > end) {
    if (items.size() == Runtime::kMaxRange) raise("range() of more than {} elements", Runtime::kMaxRange);
    items.emplace_back(next);
    if (__builtin_add_overflow(next, step, &next)) break;
  }
  std::string label = step == 1 ? format("range({}, {})", begin, end) : format("range({}, {}, {})", begin, end, step);
  return runtime.sequence(Sequence::Type::kRange, std::move(items), std::move(label));
}

/// What dict(...) is made of: a mapping or pairs, then the named arguments.
std::vector<std::pair<Value, Value>> members(Runtime& runtime, const Args& args) {
  std::vector<std::pair<Value, Value>> result;
  if (args.positional.size() > 1) raise("{}() takes at most 1 positional argument", args.callee);
  if (!args.positional.empty()) {
    const Value& source = args.positional[0];
    if (source.is_undefined()) raise_undefined(source);
    if (source.is_dict()) {
      runtime.charge(source.dict().items.size() * 2 * sizeof(Value));
      result = source.dict().items;
    } else {
      for (const Value& pair : runtime.iterate(source)) {
        std::vector<Value> parts = runtime.iterate(pair);
        if (parts.size() != 2) raise("{}() needs pairs, not sequences of {}", args.callee, parts.size());
        result.emplace_back(std::move(parts[0]), std::move(parts[1]));
      }
    }
  }
  for (const auto& [name, value] : args.named) result.emplace_back(runtime.text(name), value);
  return result;
}

Value dict(Runtime& runtime, const Value&, const Args& args) {
  return runtime.dict(members(runtime, args));
}

Value make_namespace(Runtime& runtime, const Value&, const Args& args) {
  Namespace* result = runtime.make_namespace();
  for (auto& [key, value] : members(runtime, args)) {
    const std::string name = to_text(key, "", "the name of an attribute");
    if (name.starts_with('_')) raise("the attribute '{}' of a namespace begins with '_'", name);
    runtime.charge(sizeof(Value) + name.size() + 64);
    result->attributes.insert_or_assign(name, std::move(value));
  }
  return Value(result);
}

Value raise_exception(Runtime& runtime, const Value&, const Args& args) {
  throw Failure{.message = runtime.str(bind(args, {"message"}, 1)[0]), .raised = true};
}

/// Each directive is expanded by itself, so that the C library sees neither flags nor widths of the template's choice.
Value strftime_now(Runtime& runtime, const Value&, const Args& args) {
  static constexpr std::string_view kDirectives = "aAbBcCdDeFgGhHIjmMnprRStTuUVwWxXyYzZ%";
  const std::string pattern = to_text(bind(args, {"format"}, 1)[0], "", "the format of strftime_now");
  const std::tm now = runtime.now();
  std::string text;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') {
      text += pattern[i];
      continue;
    }
    const bool no_padding = i + 1 < pattern.size() && pattern[i + 1] == '-';
    i += 1 + no_padding;
    if (i >= pattern.size() || kDirectives.find(pattern[i]) == kDirectives.npos) {
      raise("strftime_now does not know the directive at the end of '{}'", std::string_view(pattern).substr(0, i + 1));
    }
    const std::string directive = {'%', pattern[i]};
    std::array<char, 128> buffer{};
    const std::size_t size = std::strftime(buffer.data(), buffer.size(), directive.c_str(), &now);
    std::string_view part(buffer.data(), size);
    while (no_padding && part.size() > 1 && (part[0] == '0' || part[0] == ' ')) part.remove_prefix(1);
    runtime.append(text, part);
  }
  return runtime.text(std::move(text));
}

constexpr Native kGlobals[] = {
    {"dict", dict},   {"namespace", make_namespace},  {"raise_exception", raise_exception},
    {"range", range}, {"strftime_now", strftime_now},
};

}  // namespace

const Native* find_global(std::string_view name) {
  const auto* at =
      std::find_if(std::begin(kGlobals), std::end(kGlobals), [&](const Native& n) { return n.name == name; });
  return at == std::end(kGlobals) ? nullptr : at;
}

}  // namespace tandem::jinja
