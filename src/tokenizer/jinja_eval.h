#pragma once
// Walks a template's tree and writes its output.

#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja_ast.h"
#include "tokenizer/jinja_runtime.h"

namespace tandem::jinja {

/// A Failure with the place in the template where it happened.
struct RenderError {
  Position at;
  Failure failure;
};

/// Renders with these variables; values were made with `runtime`. Throws RenderError. Safe to call from several threads
/// with the same tree and different runtimes.
std::string render(const Template& tree, Runtime& runtime, std::vector<std::pair<std::string, Value>> variables);

}  // namespace tandem::jinja
