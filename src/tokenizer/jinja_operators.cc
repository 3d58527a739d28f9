#include "tokenizer/jinja_operators.h"

#include <algorithm>
#include <cmath>

#include "base/checked_math.h"
#include "tokenizer/jinja_natives.h"
#include "tokenizer/jinja_text.h"

namespace tandem::jinja {
namespace {

[[noreturn]] void raise_operands(std::string_view op, const Value& a, const Value& b) {
  if (a.is_undefined()) raise_undefined(a);
  if (b.is_undefined()) raise_undefined(b);
  raise("unsupported operand types for {}: '{}' and '{}'", op, type_name(a), type_name(b));
}

Value checked(const std::optional<std::int64_t>& result, std::string_view op) {
  if (!result) raise("integer overflow in {}", op);
  return Value(*result);
}

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

double float_modulo(double a, double b) {
  const double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) raise("0 cannot be raised to a negative power");
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  if (base == 0 || base == 1) return Value(exponent == 0 ? std::int64_t{1} : base);
  if (base == -1) return Value(std::int64_t{exponent % 2 == 0 ? 1 : -1});
  std::optional<std::int64_t> result = 1;
  for (; exponent > 0 && result; --exponent) result = checked_mul(*result, base);
  return checked(result, "**");
}

Value integers(std::string_view op, std::int64_t a, std::int64_t b) {
  if (op == "+") return checked(checked_add(a, b), op);
  if (op == "*") return checked(checked_mul(a, b), op);
  if (op == "**") return integer_power(a, b);
  if (op == "-") {
    std::int64_t result = 0;
    return checked(__builtin_sub_overflow(a, b, &result) ? std::nullopt : std::optional(result), op);
  }
  if (b == 0) raise("division by zero");
  if (op == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
  if (b == -1) return op == "%" ? Value(std::int64_t{0}) : integers("-", 0, a);
  return Value(op == "//" ? floor_divide(a, b) : a - floor_divide(a, b) * b);
}

Value floats(std::string_view op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") {
    if (a == 0 && b < 0) raise("0.0 cannot be raised to a negative power");
    if (a < 0 && b != std::trunc(b)) raise("a negative number to a fractional power is complex");
    return Value(std::pow(a, b));
  }
  if (b == 0) raise("float division by zero");
  if (op == "/") return Value(a / b);
  return Value(op == "//" ? std::floor(a / b) : float_modulo(a, b));
}

Value repeat(Runtime& runtime, const Value& value, std::int64_t times) {
  const std::size_t count = times < 0 ? 0 : static_cast<std::size_t>(times);
  if (value.is_text()) {
    const std::string& text = value.text();
    if (text.empty() || count == 0) return runtime.text("");
    if (count > std::string::npos / text.size()) raise("the text grows too long");
    runtime.check_text(text.size() * count);
    std::string result;
    result.reserve(text.size() * count);
    for (std::size_t i = 0; i < count; ++i) result += text;
    return runtime.text(std::move(result));
  }
  const Sequence& sequence = value.sequence();
  std::vector<Value> items;
  for (std::size_t i = 0; i < count && !sequence.items.empty(); ++i) {
    runtime.charge(sequence.items.size() * sizeof(Value));
    items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  }
  return runtime.sequence(sequence.type, std::move(items));
}

bool is_list_or_tuple(const Value& value) {
  return value.is_sequence() &&
         (value.sequence().type == Sequence::Type::kList || value.sequence().type == Sequence::Type::kTuple);
}

bool has_index(const Value& value) {
  return is_list_or_tuple(value) || (value.is_sequence() && value.sequence().type == Sequence::Type::kRange);
}

/// Where character `index` begins; characters are counted as work.
std::size_t byte_offset(Runtime& runtime, std::string_view text, std::size_t index) {
  runtime.step(index / 16);
  std::size_t offset = 0;
  for (; index > 0; --index) offset += character_bytes(text.substr(offset));
  return offset;
}

std::int64_t length_of(Runtime& runtime, const std::string& text) {
  runtime.step(text.size() / 16);
  return static_cast<std::int64_t>(count_characters(text));
}

struct SliceRange {
  std::int64_t begin, end, step;
};

/// The indices a Python slice of something `length` long visits.
SliceRange slice_range(const Value& begin, const Value& end, const Value& step_value, std::int64_t length) {
  const auto bound = [](const Value& value, std::int64_t otherwise) {
    return value.is_none() ? otherwise : to_integer(value, otherwise, "a slice index");
  };
  const std::int64_t step = bound(step_value, 1);
  if (step == 0) raise("the step of a slice must not be 0");
  const std::int64_t low = step < 0 ? -1 : 0;
  const std::int64_t high = step < 0 ? length - 1 : length;
  const auto clamp = [&](std::int64_t index) { return std::clamp(index < 0 ? index + length : index, low, high); };
  const bool no_begin = begin.is_none() || begin.is_undefined();
  const bool no_end = end.is_none() || end.is_undefined();
  return {no_begin ? (step < 0 ? high : low) : clamp(bound(begin, 0)),
          no_end ? (step < 0 ? low : high) : clamp(bound(end, 0)), step};
}

template <class Visit>
void visit_slice(const SliceRange& range, Visit visit) {
  for (std::int64_t i = range.begin; range.step > 0 ? i < range.end : i > range.end;) {
    visit(static_cast<std::size_t>(i));
    if (__builtin_add_overflow(i, range.step, &i)) return;
  }
}

Value bind_method(Runtime& runtime, const Native& method, const Value& self) {
  if (method.function) return runtime.method(method.name, self, method.function);
  return runtime.undefined(
      format("access to attribute '{}' of '{} object' is unsafe: a template must not change values", method.name,
             type_name(self)));
}

Value loop_attribute(Runtime& runtime, const Loop& loop, const Value& value, std::string_view name) {
  const std::vector<Value>& items = loop.items->items;
  const auto count = [](std::size_t n) { return Value(static_cast<std::int64_t>(n)); };
  if (name == "index") return count(loop.index0 + 1);
  if (name == "index0") return count(loop.index0);
  if (name == "first") return Value(loop.index0 == 0);
  if (name == "last") return Value(loop.index0 + 1 == items.size());
  if (name == "length") return count(items.size());
  if (name == "revindex") return count(items.size() - loop.index0);
  if (name == "revindex0") return count(items.size() - loop.index0 - 1);
  if (name == "depth") return count(1);  // of recursive loops, which there are none of
  if (name == "depth0") return count(0);
  if (name == "previtem") {
    return loop.index0 == 0 ? runtime.undefined("there is no previous item") : items[loop.index0 - 1];
  }
  if (name == "nextitem") {
    return loop.index0 + 1 >= items.size() ? runtime.undefined("there is no next item") : items[loop.index0 + 1];
  }
  if (const Native* method = find_method(value, name)) return bind_method(runtime, *method, value);
  return runtime.undefined(format("'loop' has no attribute '{}'", name));
}

std::string no_attribute(const Value& value, std::string_view name) {
  return format("'{} object' has no attribute '{}'", type_name(value), name);
}

}  // namespace

Value binary(Runtime& runtime, std::string_view op, const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) return integers(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return floats(op, a.number(), b.number());
  if (op == "+" && a.is_text() && b.is_text()) {
    std::string text = a.text();
    runtime.append(text, b.text());
    return runtime.text(std::move(text));
  }
  if (op == "+" && is_list_or_tuple(a) && is_list_or_tuple(b) && a.sequence().type == b.sequence().type) {
    runtime.charge((a.sequence().items.size() + b.sequence().items.size()) * sizeof(Value));
    std::vector<Value> items = a.sequence().items;
    items.insert(items.end(), b.sequence().items.begin(), b.sequence().items.end());
    return runtime.sequence(a.sequence().type, std::move(items));
  }
  if (op == "*" && b.is_integer() && (a.is_text() || is_list_or_tuple(a))) return repeat(runtime, a, b.integer());
  if (op == "*" && a.is_integer() && (b.is_text() || is_list_or_tuple(b))) return repeat(runtime, b, a.integer());
  if (op == "%" && a.is_text()) return runtime.text(format_percent(runtime, a.text(), b));
  raise_operands(op, a, b);
}

Value unary(Runtime&, std::string_view op, const Value& value) {
  if (value.is_undefined()) raise_undefined(value);
  if (!value.is_number()) raise("bad operand type for unary {}: '{}'", op, type_name(value));
  if (value.is<double>()) return Value(op == "-" ? -value.as<double>() : value.as<double>());
  return op == "-" ? integers("-", 0, value.integer()) : Value(value.integer());
}

bool compare_by(Runtime& runtime, std::string_view sign, const Value& a, const Value& b) {
  if (sign == "==") return equal(runtime, a, b);
  if (sign == "!=") return !equal(runtime, a, b);
  if (sign == "in") return contains(runtime, b, a);
  if (sign == "not in") return !contains(runtime, b, a);
  const int order = compare(runtime, a, b, sign);
  const bool is_ordered =
      !(a.is<double>() && std::isnan(a.as<double>())) && !(b.is<double>() && std::isnan(b.as<double>()));
  return is_ordered && (sign == "<" ? order < 0 : sign == "<=" ? order <= 0 : sign == ">" ? order > 0 : order >= 0);
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  if (container.is_text()) {
    if (!item.is_text()) raise("'in <string>' requires a string, not '{}'", type_name(item));
    return find_text(runtime, container.text(), item.text()) != std::string::npos;
  }
  if (container.is_dict()) return find(runtime, container.dict(), item) != nullptr;
  if (container.is_undefined()) return false;
  if (!container.is_sequence()) raise("argument of type '{}' is not iterable", type_name(container));
  const auto& items = container.sequence().items;
  return std::any_of(items.begin(), items.end(), [&](const Value& other) { return equal(runtime, other, item); });
}

Value get_attribute(Runtime& runtime, const Value& value, std::string_view name) {
  if (value.is_undefined()) raise_undefined(value);
  if (value.is<Namespace*>()) {
    const auto& attributes = value.as<Namespace*>()->attributes;
    const auto at = attributes.find(name);
    return at != attributes.end() ? at->second : runtime.undefined(no_attribute(value, name));
  }
  if (value.is<LoopPtr>()) return loop_attribute(runtime, *value.as<LoopPtr>(), value, name);
  if (const Native* method = find_method(value, name)) return bind_method(runtime, *method, value);
  if (value.is_dict()) {
    if (const Value* item = find(value.dict(), name)) return *item;
  }
  return runtime.undefined(no_attribute(value, name));
}

Value get_item(Runtime& runtime, const Value& value, const Value& key) {
  if (value.is_undefined()) raise_undefined(value);
  if (value.is_dict()) {
    const bool has_hash = !key.is_dict() && !(key.is_sequence() && key.sequence().type != Sequence::Type::kTuple);
    if (const Value* item = has_hash ? find(runtime, value.dict(), key) : nullptr) return *item;
  } else if (key.is_integer() && (value.is_text() || has_index(value))) {
    const auto length =
        value.is_text() ? length_of(runtime, value.text()) : static_cast<std::int64_t>(value.sequence().items.size());
    const std::int64_t index = key.integer() < 0 ? key.integer() + length : key.integer();
    if (index < 0 || index >= length) {
      return runtime.undefined(format("'{} object' has no element {}", type_name(value), key.integer()));
    }
    if (!value.is_text()) return value.sequence().items[static_cast<std::size_t>(index)];
    const std::string_view text = value.text();
    const std::string_view rest = text.substr(byte_offset(runtime, text, static_cast<std::size_t>(index)));
    return runtime.text(rest.substr(0, character_bytes(rest)));
  }
  if (key.is_text()) {
    if (!value.is_dict()) return get_attribute(runtime, value, key.text());
    if (const Native* method = find_method(value, key.text())) return bind_method(runtime, *method, value);
  }
  std::string text;
  append_repr(runtime, text, key);
  return runtime.undefined(format("'{} object' has no item {}", type_name(value), text));
}

Value get_slice(Runtime& runtime, const Value& value, const Value& begin, const Value& end, const Value& step) {
  if (value.is_undefined()) raise_undefined(value);
  if (value.is_text()) {
    const std::string_view text = value.text();
    const SliceRange range = slice_range(begin, end, step, length_of(runtime, value.text()));
    if (range.step == 1) {
      if (range.end <= range.begin) return runtime.text("");
      const std::size_t from = byte_offset(runtime, text, static_cast<std::size_t>(range.begin));
      const std::size_t count = static_cast<std::size_t>(range.end - range.begin);
      return runtime.text(text.substr(from, byte_offset(runtime, text.substr(from), count)));
    }
    runtime.charge(text.size() * sizeof(std::string_view));
    const std::vector<std::string_view> characters = split_characters(text);
    std::string result;
    visit_slice(range, [&](std::size_t i) { result += characters[i]; });
    return runtime.text(std::move(result));
  }
  if (!has_index(value)) return runtime.undefined(format("'{} object' cannot be sliced", type_name(value)));
  const std::vector<Value>& all = value.sequence().items;
  std::vector<Value> items;
  visit_slice(slice_range(begin, end, step, static_cast<std::int64_t>(all.size())), [&](std::size_t i) {
    runtime.charge(sizeof(Value));
    items.push_back(all[i]);
  });
  return runtime.sequence(value.sequence().type, std::move(items), value.sequence().label);
}

}  // namespace tandem::jinja
