// Expressions, loosest binding first, as jinja2's grammar has them: or, and, not, comparisons, + -, ~, * / // %, **,
// signs; then attributes, subscripts, calls, filters and tests.

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/format.h"
#include "tokenizer/jinja_natives.h"
#include "tokenizer/jinja_parser.h"

namespace tandem::jinja {

using Kind = Expr::Kind;
using Type = Token::Type;

namespace {

template <class... E>
std::vector<ExprPtr> operands(E... exprs) {
  std::vector<ExprPtr> result;
  (result.push_back(std::move(exprs)), ...);
  return result;
}

Text make_text(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

std::int64_t parse_integer(const Token& token, auto fail) {
  std::string_view digits = token.text;
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0' && digits[1] > '9') {
    base = digits[1] == 'x' ? 16 : (digits[1] == 'o' ? 8 : 2);
    digits.remove_prefix(2);
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc()) fail();
  return value;
}

}  // namespace

ExpressionParser::Level::Level(ExpressionParser& parser) : parser_(parser) {
  if (parser_.nesting_ >= kMaxNesting) {
    fail_at(parser_.current().at, format("nested deeper than {} levels", kMaxNesting));
  }
  ++parser_.nesting_;
}

Token ExpressionParser::take() {
  Token token = current();
  if (index_ + 1 < tokens_.size()) ++index_;
  return token;
}

bool ExpressionParser::skip_operator(std::string_view op) {
  if (!current().is_operator(op)) return false;
  ++index_;
  return true;
}

bool ExpressionParser::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  ++index_;
  return true;
}

void ExpressionParser::expect_operator(std::string_view op) {
  if (!skip_operator(op)) fail_here(format("'{}'", op));
}

std::string ExpressionParser::expect_name(std::string_view what) {
  if (!current().is(Type::kName)) fail_here(what);
  return take().text;
}

void ExpressionParser::expect_type(Type type, std::string_view what) {
  if (!current().is(type)) fail_here(what);
  take();
}

void ExpressionParser::fail_here(std::string_view expected) const {
  fail_at(current().at, format("expected {}, found {}", expected, describe(current())));
}

void ExpressionParser::fail_at(Position at, std::string message, bool unsupported) {
  throw SyntaxError{at, std::move(message), unsupported};
}

void ExpressionParser::measure(Expr& expr) const {
  for (const ExprPtr& child : expr.operands) {
    if (child) expr.height = std::max(expr.height, child->height + 1);
  }
  for (const ExprPtr& child : expr.arguments) expr.height = std::max(expr.height, child->height + 1);
  for (const auto& [name, child] : expr.named_arguments) expr.height = std::max(expr.height, child->height + 1);
  if (expr.height > kMaxHeight) fail_at(expr.at, format("the expression has more than {} levels", kMaxHeight));
}

ExprPtr ExpressionParser::make(Kind kind, Position at, std::vector<ExprPtr> children, std::string name) const {
  auto expr = std::make_unique<Expr>(Expr{.kind = kind, .at = at, .name = std::move(name)});
  expr->operands = std::move(children);
  measure(*expr);
  return expr;
}

ExprPtr ExpressionParser::constant(Position at, Value value) const {
  auto expr = std::make_unique<Expr>(Expr{.kind = Kind::kConstant, .at = at});
  expr->constant = std::move(value);
  return expr;
}

ExprPtr ExpressionParser::parse_tuple(bool conditional) {
  const Position at = current().at;
  const auto ends = [&] {
    const Token& t = current();
    return t.is(Type::kBlockEnd) || t.is(Type::kOutputEnd) || t.is_operator(")") || t.is_name("recursive");
  };
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (!ends()) {
    items.push_back(conditional ? parse_expression() : parse_or());
    if (!skip_operator(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return make(Kind::kTuple, at, std::move(items));
  if (items.empty()) fail_here("an expression");
  return std::move(items[0]);
}

ExprPtr ExpressionParser::parse_expression() {
  const Level level(*this);
  ExprPtr value = parse_or();
  while (current().is_name("if")) {
    const Position at = take().at;
    ExprPtr condition = parse_or();
    ExprPtr otherwise = skip_name("else") ? parse_expression() : nullptr;
    value = make(Kind::kConditional, at, operands(std::move(condition), std::move(value), std::move(otherwise)));
  }
  return value;
}

ExprPtr ExpressionParser::parse_or() {
  ExprPtr left = parse_and();
  while (current().is_name("or")) {
    const Position at = take().at;
    left = make(Kind::kOr, at, operands(std::move(left), parse_and()));
  }
  return left;
}

ExprPtr ExpressionParser::parse_and() {
  ExprPtr left = parse_not();
  while (current().is_name("and")) {
    const Position at = take().at;
    left = make(Kind::kAnd, at, operands(std::move(left), parse_not()));
  }
  return left;
}

ExprPtr ExpressionParser::parse_not() {
  if (!current().is_name("not")) return parse_compare();
  const Level level(*this);
  const Position at = take().at;
  return make(Kind::kNot, at, operands(parse_not()));
}

ExprPtr ExpressionParser::parse_compare() {
  const Position at = current().at;
  std::vector<ExprPtr> children = operands(parse_sum());
  std::vector<std::string> signs;
  while (true) {
    static constexpr std::string_view kSigns[] = {"==", "!=", "<=", ">=", "<", ">"};
    const auto* sign = std::find_if(std::begin(kSigns), std::end(kSigns),
                                    [&](std::string_view op) { return current().is_operator(op); });
    if (sign != std::end(kSigns)) {
      signs.emplace_back(*sign);
      take();
    } else if (skip_name("in")) {
      signs.emplace_back("in");
    } else if (current().is_name("not") && next().is_name("in")) {
      signs.emplace_back("not in");
      take();
      take();
    } else {
      break;
    }
    children.push_back(parse_sum());
  }
  if (signs.empty()) return std::move(children[0]);
  ExprPtr expr = make(Kind::kCompare, at, std::move(children));
  expr->signs = std::move(signs);
  return expr;
}

ExprPtr ExpressionParser::parse_binary(std::initializer_list<std::string_view> operators,
                                       ExprPtr (ExpressionParser::*operand)()) {
  ExprPtr left = (this->*operand)();
  while (std::any_of(operators.begin(), operators.end(), [&](auto op) { return current().is_operator(op); })) {
    Token op = take();
    left = make(Kind::kBinary, op.at, operands(std::move(left), (this->*operand)()), std::move(op.text));
  }
  return left;
}

ExprPtr ExpressionParser::parse_sum() {
  return parse_binary({"+", "-"}, &ExpressionParser::parse_concat);
}

ExprPtr ExpressionParser::parse_concat() {
  const Position at = current().at;
  std::vector<ExprPtr> children = operands(parse_product());
  while (skip_operator("~")) children.push_back(parse_product());
  if (children.size() == 1) return std::move(children[0]);
  return make(Kind::kConcat, at, std::move(children));
}

ExprPtr ExpressionParser::parse_product() {
  return parse_binary({"*", "/", "//", "%"}, &ExpressionParser::parse_power);
}

ExprPtr ExpressionParser::parse_power() {
  return parse_binary({"**"}, &ExpressionParser::parse_power_operand);
}

ExprPtr ExpressionParser::parse_unary(bool with_filters) {
  ExprPtr expr;
  if (current().is_operator("-") || current().is_operator("+")) {
    const Level level(*this);
    Token op = take();
    expr = make(Kind::kUnary, op.at, operands(parse_unary(false)), std::move(op.text));
  } else {
    expr = parse_primary();
  }
  expr = parse_postfix(std::move(expr));
  return with_filters ? parse_filters_and_tests(std::move(expr)) : std::move(expr);
}

ExprPtr ExpressionParser::parse_primary() {
  const Position at = current().at;
  if (current().is(Type::kName)) {
    const std::string name = take().text;
    if (name == "true" || name == "True") return constant(at, Value(true));
    if (name == "false" || name == "False") return constant(at, Value(false));
    if (name == "none" || name == "None") return constant(at, Value(None{}));
    return make(Kind::kName, at, {}, name);
  }
  if (current().is(Type::kText)) {
    std::string text = take().text;
    while (current().is(Type::kText)) text += take().text;
    return constant(at, Value(make_text(std::move(text))));
  }
  if (current().is(Type::kInteger)) {
    const Token token = take();
    const auto too_large = [&] { fail_at(at, format("the integer {} has more than 64 bits", token.text)); };
    return constant(at, Value(parse_integer(token, too_large)));
  }
  if (current().is(Type::kFloat)) {
    const std::string text = take().text;
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) fail_at(at, format("the number {} is out of range", text));
    return constant(at, Value(value));
  }
  if (current().is_operator("[")) return parse_list();
  if (current().is_operator("{")) return parse_dict();
  if (!skip_operator("(")) fail_here("an expression");
  ExprPtr expr = current().is_operator(")") ? make(Kind::kTuple, at, {}) : parse_tuple(true);
  expect_operator(")");
  return expr;
}

ExprPtr ExpressionParser::parse_list() {
  const Position at = take().at;
  std::vector<ExprPtr> items;
  while (!current().is_operator("]")) {
    items.push_back(parse_expression());
    if (!current().is_operator("]") && !skip_operator(",")) fail_here("',' or ']'");
  }
  take();
  return make(Kind::kList, at, std::move(items));
}

ExprPtr ExpressionParser::parse_dict() {
  const Position at = take().at;
  std::vector<ExprPtr> items;
  while (!current().is_operator("}")) {
    items.push_back(parse_expression());
    expect_operator(":");
    items.push_back(parse_expression());
    if (!current().is_operator("}") && !skip_operator(",")) fail_here("',' or '}'");
  }
  take();
  return make(Kind::kDict, at, std::move(items));
}

ExprPtr ExpressionParser::parse_postfix(ExprPtr expr) {
  while (true) {
    if (current().is_operator(".")) {
      expr = parse_attribute(std::move(expr));
    } else if (current().is_operator("[")) {
      expr = parse_subscript(std::move(expr));
    } else if (current().is_operator("(")) {
      expr = parse_call(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr ExpressionParser::parse_attribute(ExprPtr expr) {
  const Position at = take().at;
  if (current().is(Type::kInteger)) {
    ExprPtr index = parse_primary();
    return make(Kind::kItem, at, operands(std::move(expr), std::move(index)));
  }
  std::string name = expect_name("the name of an attribute");
  return make(Kind::kAttribute, at, operands(std::move(expr)), std::move(name));
}

ExprPtr ExpressionParser::parse_subscript(ExprPtr expr) {
  const Position at = take().at;
  const auto bound = [&]() -> ExprPtr {
    return current().is_operator(":") || current().is_operator("]") ? nullptr : parse_expression();
  };
  if (current().is_operator("]")) fail_here("an index");
  ExprPtr first = bound();
  if (skip_operator(":")) {
    ExprPtr second = bound();
    ExprPtr third = skip_operator(":") ? bound() : nullptr;
    if (!skip_operator("]")) fail_here("']'");
    return make(Kind::kSlice, at, operands(std::move(expr), std::move(first), std::move(second), std::move(third)));
  }
  if (!skip_operator("]")) fail_here("':' or ']'");
  return make(Kind::kItem, at, operands(std::move(expr), std::move(first)));
}

ExprPtr ExpressionParser::parse_call(ExprPtr callee) {
  ExprPtr call = make(Kind::kCall, current().at, operands(std::move(callee)));
  parse_arguments(*call);
  return call;
}

void ExpressionParser::parse_arguments(Expr& call) {
  const Level level(*this);
  expect_operator("(");
  while (!current().is_operator(")")) {
    if (current().is_operator("*") || current().is_operator("**")) {
      fail_at(current().at, "arguments with '*' are not supported", true);
    }
    if (current().is(Type::kName) && next().is_operator("=")) {
      std::string name = take().text;
      take();
      call.named_arguments.emplace_back(std::move(name), parse_expression());
    } else {
      if (!call.named_arguments.empty()) fail_here("a named argument after the first named one");
      call.arguments.push_back(parse_expression());
    }
    // map('map', 'map', ...) recurses once for each argument.
    if (call.arguments.size() + call.named_arguments.size() > kMaxArguments) {
      fail_at(call.at, format("more than {} arguments", kMaxArguments));
    }
    if (!current().is_operator(")") && !skip_operator(",")) fail_here("',' or ')'");
  }
  take();
  measure(call);
}

ExprPtr ExpressionParser::parse_filters_and_tests(ExprPtr expr) {
  while (true) {
    if (current().is_operator("|")) {
      expr = parse_filters(std::move(expr), false);
    } else if (current().is_name("is")) {
      expr = parse_test(std::move(expr));
    } else if (current().is_operator("(")) {
      expr = parse_call(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr ExpressionParser::parse_filters(ExprPtr expr, bool inline_start) {
  while (std::exchange(inline_start, false) || skip_operator("|")) {
    const Position at = current().at;
    const std::string name = expect_name("the name of a filter");
    const NativeFn native = find_filter(name);
    if (!native) fail_at(at, format("there is no filter '{}'", name));
    expr = make(Kind::kFilter, at, operands(std::move(expr)), name);
    expr->native = native;
    if (current().is_operator("(")) parse_arguments(*expr);
  }
  return expr;
}

ExprPtr ExpressionParser::parse_test(ExprPtr expr) {
  take();
  const bool negated = skip_name("not");
  const Position at = current().at;
  const std::string name = expect_name("the name of a test");
  const NativeFn native = find_test(name);
  if (!native) fail_at(at, format("there is no test '{}'", name));
  expr = make(Kind::kTest, at, operands(std::move(expr)), name);
  expr->native = native;
  const Token& token = current();
  const bool has_operand = token.is(Type::kName) || token.is(Type::kText) || token.is(Type::kInteger) ||
                           token.is(Type::kFloat) || token.is_operator("[") || token.is_operator("{");
  if (token.is_operator("(")) {
    parse_arguments(*expr);
  } else if (has_operand && !token.is_name("else") && !token.is_name("or") && !token.is_name("and")) {
    if (token.is_name("is")) fail_at(token.at, "tests cannot be chained with 'is'");
    expr->arguments.push_back(parse_postfix(parse_primary()));
    measure(*expr);
  }
  return negated ? make(Kind::kNot, at, operands(std::move(expr))) : std::move(expr);
}

}  // namespace tandem::jinja
