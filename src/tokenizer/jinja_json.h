#pragma once
// JSON in and out, as Python's json module has it: objects keep their order, numbers stay integers or floats.

#include <string>
#include <string_view>

#include "tokenizer/jinja_runtime.h"

namespace tandem::jinja {

/// Throws Failure for broken JSON and for nesting deeper than Runtime::kMaxDepth. Of equal keys the last one wins.
Value parse_json(Runtime& runtime, std::string_view text);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool multiline = false;  ///< each element on a line of its own, behind `indent` once for each level
  std::string indent{};
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

/// json.dumps(value). Throws Failure for values JSON has no form of.
std::string to_json(Runtime& runtime, const Value& value, const JsonStyle& style);

/// The filter tojson as Hugging Face replaces it.
Value tojson_filter(Runtime& runtime, const Value& self, const Args& args);

}  // namespace tandem::jinja
