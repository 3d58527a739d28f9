#pragma once
// What operators, subscripts and attributes do to values. Failures are Python's, as Failure.

#include <optional>
#include <string_view>

#include "tokenizer/jinja_runtime.h"

namespace tandem::jinja {

/// `op` is one of + - * / // % **.
Value binary(Runtime& runtime, std::string_view op, const Value& a, const Value& b);
/// `op` is + or -.
Value unary(Runtime& runtime, std::string_view op, const Value& value);
/// `sign` is one of == != < <= > >= "in" "not in".
bool compare_by(Runtime& runtime, std::string_view sign, const Value& a, const Value& b);
/// item in container
bool contains(Runtime& runtime, const Value& container, const Value& item);

/// value.name: a method, else an item. Undefined if there is neither.
Value get_attribute(Runtime& runtime, const Value& value, std::string_view name);
/// value[key]: an item, else a method. Undefined if there is neither.
Value get_item(Runtime& runtime, const Value& value, const Value& key);
/// value[begin:end:step]; none or undefined bounds are absent ones.
Value get_slice(Runtime& runtime, const Value& value, const Value& begin, const Value& end, const Value& step);

/// text.replace(old, with, count); a negative count means all.
std::string replace_text(Runtime& runtime, std::string_view text, std::string_view old, std::string_view with,
                         std::int64_t count);
/// text.center(width, fill)
std::string center_text(Runtime& runtime, std::string_view text, std::int64_t width, std::string_view fill);

/// text % args, as printf: %s %r %d %i %f %e %g %x %o %c %%, with flags, width and precision.
std::string format_percent(Runtime& runtime, std::string_view text, const Value& args);

}  // namespace tandem::jinja
