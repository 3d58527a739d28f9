#pragma once
// Cuts a template into tokens. White space is handled here, as jinja2 does with trim_blocks and lstrip_blocks set: the
// newline after a block tag or comment goes, as does the white space before one on its line; "-" in a tag strips all
// white space on that side, "+" keeps what would go. Line ends become "\n"; one at the end of the template is dropped.

#include <string>
#include <string_view>
#include <vector>

namespace tandem::jinja {

/// Both from 1; columns count bytes.
struct Position {
  int line = 1;
  int column = 1;
};

/// A template that cannot be compiled. `unsupported`: valid Jinja that is not implemented.
struct SyntaxError {
  Position at;
  std::string message;
  bool unsupported = false;
};

struct Token {
  enum class Type {
    kData,
    kBlockBegin,
    kBlockEnd,
    kOutputBegin,
    kOutputEnd,
    kName,
    kText,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Type type;
  std::string text;  ///< unescaped for kText, without "_" for numbers
  Position at;

  bool is(Type t) const { return type == t; }
  bool is_operator(std::string_view op) const { return type == Type::kOperator && text == op; }
  bool is_name(std::string_view name) const { return type == Type::kName && text == name; }
};

/// "a string", "'+'", "the name 'x'", "the end of the template" ...
std::string describe(const Token& token);

/// The tokens of `source`, the last one kEnd. Throws SyntaxError.
std::vector<Token> tokenize(std::string_view source);

}  // namespace tandem::jinja
