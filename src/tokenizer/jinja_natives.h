#pragma once
// The tables of filters, tests, methods and global functions. All functions count their work against the Runtime.

#include <span>
#include <string_view>

#include "tokenizer/jinja_value.h"

namespace tandem::jinja {

struct Native {
  std::string_view name;
  NativeFn function;
};

// Null for names that do not exist.
/// The filters over sequences and mappings, part of those find_filter knows.
std::span<const Native> sequence_filters();

NativeFn find_filter(std::string_view name);
NativeFn find_test(std::string_view name);
/// A method of the type of `self`; its function is null when the sandbox forbids it.
const Native* find_method(const Value& self, std::string_view name);
const Native* find_global(std::string_view name);

}  // namespace tandem::jinja
