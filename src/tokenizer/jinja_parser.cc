// Statements: what stands between "{%" and "%}".

#include "tokenizer/jinja_parser.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/format.h"

namespace tandem::jinja {
namespace {

using Kind = Stmt::Kind;
using Type = Token::Type;

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Template run() { return {parse_body({})}; }

 private:
  using Ends = std::vector<std::string_view>;

  /// Up to a tag that begins with one of `ends`, or the end of the template if there are none; the tag's name is
  /// current then.
  Body parse_body(const Ends& ends) {
    const Level level(*this);
    const Position begin = current().at;
    Body body;
    while (!current().is(Type::kEnd)) {
      const Token token = take();
      if (token.is(Type::kData)) {
        body.push_back({.kind = Kind::kData, .at = token.at, .text = token.text});
      } else if (token.is(Type::kOutputBegin)) {
        body.push_back({.kind = Kind::kOutput, .at = token.at, .expr = parse_tuple(true)});
        expect_type(Type::kOutputEnd, "'}}'");
      } else {
        if (std::any_of(ends.begin(), ends.end(), [&](auto end) { return current().is_name(end); })) return body;
        body.push_back(parse_statement(ends));
        expect_type(Type::kBlockEnd, "'%}'");
      }
    }
    if (!ends.empty()) {
      fail_at(current().at, format("expected '{{% {} %}}' for the block from line {}, found the end of the template",
                                   ends.back(), begin.line));
    }
    return body;
  }

  /// parse_body for a block with one end; its tag's name is taken.
  Body parse_block(std::string_view end) {
    expect_type(Type::kBlockEnd, "'%}'");
    Body body = parse_body({end});
    take();
    return body;
  }

  Stmt parse_statement(const Ends& ends) {
    const Position at = current().at;
    const std::string tag = expect_name("the name of a tag");
    if (tag == "if") return parse_if(at);
    if (tag == "for") return parse_for(at);
    if (tag == "set") return parse_set(at);
    if (tag == "macro") return parse_macro(at);
    if (tag == "call") return parse_call_block(at);
    if (tag == "with") return parse_with(at);
    if (tag == "filter") return parse_filter_block(at);
    if (tag == "generation") return {.kind = Kind::kScope, .at = at, .body = parse_block("endgeneration")};
    if (tag == "break" || tag == "continue") {
      if (!in_loop_) fail_at(at, format("'{}' outside of a loop", tag));
      return {.kind = tag == "break" ? Kind::kBreak : Kind::kContinue, .at = at};
    }
    static constexpr std::array<std::string_view, 10> kUnsupported = {
        "autoescape", "block", "debug", "do", "extends", "from", "import", "include", "print", "trans"};
    if (std::find(kUnsupported.begin(), kUnsupported.end(), tag) != kUnsupported.end()) {
      fail_at(at, format("the tag '{}' is not supported in a chat template", tag), true);
    }
    if (ends.empty()) fail_at(at, format("there is no tag '{}'", tag));
    fail_at(at, format("there is no tag '{}' here, expected '{}' next", tag, ends.back()));
  }

  Stmt parse_if(Position at) {
    Stmt stmt{.kind = Kind::kIf, .at = at};
    bool is_else = false;
    while (true) {
      ExprPtr condition = is_else ? nullptr : parse_tuple(false);
      expect_type(Type::kBlockEnd, "'%}'");
      Body body = parse_body(is_else ? Ends{"endif"} : Ends{"elif", "else", "endif"});
      stmt.branches.emplace_back(std::move(condition), std::move(body));
      const std::string tag = take().text;
      if (tag == "endif") return stmt;
      is_else = tag == "else";
    }
  }

  Stmt parse_for(Position at) {
    Stmt stmt{.kind = Kind::kFor, .at = at};
    stmt.target = parse_target(false);
    if (!skip_name("in")) fail_here("'in'");
    stmt.expr = parse_tuple(false);
    if (skip_name("if")) stmt.condition = parse_expression();
    if (current().is_name("recursive")) fail_at(current().at, "recursive loops are not supported", true);
    expect_type(Type::kBlockEnd, "'%}'");
    const bool outer = std::exchange(in_loop_, true);
    stmt.body = parse_body({"else", "endfor"});
    in_loop_ = outer;
    if (take().text == "else") stmt.otherwise = parse_block("endfor");
    return stmt;
  }

  /// Names and, for set, attributes of namespaces, with commas between.
  Target parse_target(bool allow_attribute) {
    const Level level(*this);
    Target tuple{.at = current().at};
    bool is_tuple = false;
    while (current().is(Type::kName) || current().is_operator("(")) {
      if (current().is_name("in") || (is_tuple && current().is_operator("="))) break;
      tuple.parts.push_back(parse_one_target(allow_attribute));
      if (!skip_operator(",")) break;
      is_tuple = true;
    }
    if (tuple.parts.empty()) fail_here("the name of a variable");
    if (is_tuple) return tuple;
    Target single = std::move(tuple.parts[0]);
    return single;
  }

  Target parse_one_target(bool allow_attribute) {
    Target target{.at = current().at};
    if (skip_operator("(")) {
      target = parse_target(false);
      expect_operator(")");
      return target;
    }
    target.name = take().text;
    static constexpr std::array<std::string_view, 6> kReserved = {"true", "false", "none", "True", "False", "None"};
    if (std::find(kReserved.begin(), kReserved.end(), target.name) != kReserved.end()) {
      fail_at(target.at, format("cannot assign to '{}'", target.name));
    }
    if (allow_attribute && skip_operator(".")) target.attribute = expect_name("the name of an attribute");
    return target;
  }

  Stmt parse_set(Position at) {
    Stmt stmt{.kind = Kind::kSet, .at = at};
    stmt.target = parse_target(true);
    if (skip_operator("=")) {
      stmt.expr = parse_tuple(true);
      return stmt;
    }
    if (!stmt.target.parts.empty()) fail_here("'='");
    stmt.kind = Kind::kSetBlock;
    if (current().is_operator("|")) stmt.expr = parse_filters(nullptr, false);
    if (!current().is(Type::kBlockEnd)) fail_here("'=', '|' or '%}'");
    stmt.body = parse_block("endset");
    return stmt;
  }

  Stmt parse_with(Position at) {
    Stmt stmt{.kind = Kind::kWith, .at = at};
    while (!current().is(Type::kBlockEnd)) {
      if (!stmt.assignments.empty()) expect_operator(",");
      Target target = parse_one_target(false);
      expect_operator("=");
      stmt.assignments.emplace_back(std::move(target), parse_expression());
    }
    stmt.body = parse_block("endwith");
    return stmt;
  }

  Stmt parse_filter_block(Position at) {
    ExprPtr filters = parse_filters(nullptr, true);
    return {.kind = Kind::kFilter, .at = at, .expr = std::move(filters), .body = parse_block("endfilter")};
  }

  /// A macro with its parameters, "(a, b=1)"; its body follows.
  std::unique_ptr<MacroNode> parse_signature(Position at, std::string name) {
    auto macro = std::make_unique<MacroNode>(MacroNode{.name = std::move(name), .at = at});
    if (skip_operator("(")) {
      while (!current().is_operator(")")) {
        macro->parameters.push_back(expect_name("the name of a parameter"));
        if (skip_operator("=")) {
          macro->defaults.push_back(parse_expression());
        } else if (!macro->defaults.empty()) {
          fail_here("'=' as for the parameter before");
        }
        if (!current().is_operator(")") && !skip_operator(",")) fail_here("',' or ')'");
      }
      take();
    }
    return macro;
  }

  Stmt parse_macro(Position at) {
    std::string name = expect_name("the name of a macro");
    if (!current().is_operator("(")) fail_here("'('");
    Stmt stmt{.kind = Kind::kMacro, .at = at, .macro = parse_signature(at, std::move(name))};
    parse_macro_body(*stmt.macro, "endmacro");
    return stmt;
  }

  Stmt parse_call_block(Position at) {
    Stmt stmt{.kind = Kind::kCall, .at = at, .macro = parse_signature(at, "caller")};
    stmt.expr = parse_expression();
    if (stmt.expr->kind != Expr::Kind::kCall) fail_at(stmt.expr->at, "expected a call");
    parse_macro_body(*stmt.macro, "endcall");
    return stmt;
  }

  void parse_macro_body(MacroNode& macro, std::string_view end) {
    const bool outer = std::exchange(in_loop_, false);
    macro.body = parse_block(end);
    in_loop_ = outer;
  }

  bool in_loop_ = false;
};

}  // namespace

Template parse(std::string_view source) {
  return Parser(tokenize(source)).run();
}

}  // namespace tandem::jinja
