// The tests: what may follow "is".

#include <algorithm>
#include <cmath>

#include "tokenizer/jinja_natives.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace tandem::jinja {
namespace {

/// A test without parameters.
template <bool (*test)(const Value&)>
Value plain(Runtime&, const Value& self, const Args& args) {
  bind(args, {});
  return Value(test(self));
}

template <char... sign>
Value compared(Runtime& runtime, const Value& self, const Args& args) {
  static constexpr char kSign[] = {sign...};
  return Value(compare_by(runtime, {kSign, sizeof...(sign)}, self, bind(args, {"other"}, 1)[0]));
}

Value remainder_is(Runtime& runtime, const Value& self, const Value& divisor, std::int64_t rest) {
  return Value(equal(runtime, binary(runtime, "%", self, divisor), Value(rest)));
}

Value odd(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  return remainder_is(runtime, self, Value(std::int64_t{2}), 1);
}

Value even(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  return remainder_is(runtime, self, Value(std::int64_t{2}), 0);
}

Value divisible_by(Runtime& runtime, const Value& self, const Args& args) {
  return remainder_is(runtime, self, bind(args, {"num"}, 1)[0], 0);
}

Value same_as(Runtime& runtime, const Value& self, const Args& args) {
  const Value other = bind(args, {"other"}, 1)[0];
  return Value(type_name(self) == type_name(other) && equal(runtime, self, other));
}

Value in(Runtime& runtime, const Value& self, const Args& args) {
  return Value(contains(runtime, bind(args, {"seq"}, 1)[0], self));
}

bool all_cased(Runtime& runtime, const Value& self, bool (*wanted)(std::uint32_t)) {
  const std::string text = runtime.str(self);
  bool found = false;
  for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(character_bytes(rest))) {
    const std::uint32_t code = code_point(rest.substr(0, character_bytes(rest)));
    if (!is_cased(code)) continue;
    if (!wanted(code)) return false;
    found = true;
  }
  return found;
}

Value upper(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  return Value(all_cased(runtime, self, is_upper));
}

Value lower(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  return Value(all_cased(runtime, self, is_lower));
}

bool defined(const Value& v) {
  return !v.is_undefined();
}
bool undefined(const Value& v) {
  return v.is_undefined();
}
bool none(const Value& v) {
  return v.is_none();
}
bool text(const Value& v) {
  return v.is_text();
}
bool number(const Value& v) {
  return v.is_number();
}
bool integer(const Value& v) {
  return v.is<std::int64_t>();
}
bool floating(const Value& v) {
  return v.is<double>();
}
bool boolean(const Value& v) {
  return v.is<bool>();
}
bool is_just_true(const Value& v) {
  return v.is<bool>() && v.as<bool>();
}
bool is_just_false(const Value& v) {
  return v.is<bool>() && !v.as<bool>();
}
bool mapping(const Value& v) {
  return v.is_dict();
}
bool iterable(const Value& v) {
  return v.is_undefined() || v.is_text() || v.is_dict() || v.is_sequence() || v.is<LoopPtr>();
}
bool sequence(const Value& v) {
  const bool has_index =
      v.is_sequence() && v.sequence().type != Sequence::Type::kView && v.sequence().type != Sequence::Type::kGenerator;
  return v.is_undefined() || v.is_text() || v.is_dict() || has_index;
}
bool callable(const Value& v) {
  return v.is<CallablePtr>();
}

constexpr Native kTests[] = {
    {"!=", compared<'!', '='>},
    {"<", compared<'<'>},
    {"<=", compared<'<', '='>},
    {"==", compared<'=', '='>},
    {">", compared<'>'>},
    {">=", compared<'>', '='>},
    {"boolean", plain<boolean>},
    {"callable", plain<callable>},
    {"defined", plain<defined>},
    {"divisibleby", divisible_by},
    {"eq", compared<'=', '='>},
    {"equalto", compared<'=', '='>},
    {"even", even},
    {"false", plain<is_just_false>},
    {"float", plain<floating>},
    {"ge", compared<'>', '='>},
    {"greaterthan", compared<'>'>},
    {"gt", compared<'>'>},
    {"in", in},
    {"integer", plain<integer>},
    {"iterable", plain<iterable>},
    {"le", compared<'<', '='>},
    {"lessthan", compared<'<'>},
    {"lower", lower},
    {"lt", compared<'<'>},
    {"mapping", plain<mapping>},
    {"ne", compared<'!', '='>},
    {"none", plain<none>},
    {"number", plain<number>},
    {"odd", odd},
    {"sameas", same_as},
    {"sequence", plain<sequence>},
    {"string", plain<text>},
    {"true", plain<is_just_true>},
    {"undefined", plain<undefined>},
    {"upper", upper},
};

}  // namespace

NativeFn find_test(std::string_view name) {
  const auto* at = std::find_if(std::begin(kTests), std::end(kTests), [&](const Native& n) { return n.name == name; });
  return at == std::end(kTests) ? nullptr : at->function;
}

}  // namespace tandem::jinja
