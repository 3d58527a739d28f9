#pragma once
// Tokens to tree, by recursive descent. Nesting is bounded (SyntaxError), so that neither parsing nor walking or
// destroying the tree can exhaust the stack.

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja_ast.h"

namespace tandem::jinja {

/// Throws SyntaxError. Names of filters and tests are looked up here.
Template parse(std::string_view source);

/// The expressions of a template; the statements' parser builds on it.
class ExpressionParser {
 public:
  /// `tokens` ends with kEnd.
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

 protected:
  static constexpr int kMaxNesting = 100;  ///< of brackets, blocks and operators without brackets
  static constexpr int kMaxHeight = 300;   ///< of an expression's tree: a chain of operators is a tall tree

  static constexpr std::size_t kMaxArguments = 100;

  /// Counts a level of the recursion while it lives.
  class Level {
   public:
    explicit Level(ExpressionParser& parser);
    ~Level() { --parser_.nesting_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    ExpressionParser& parser_;
  };

  const Token& current() const { return tokens_[index_]; }
  const Token& next() const { return tokens_[std::min(index_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool skip_operator(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_operator(std::string_view op);
  std::string expect_name(std::string_view what);
  void expect_type(Token::Type type, std::string_view what);
  [[noreturn]] void fail_here(std::string_view expected) const;
  [[noreturn]] static void fail_at(Position at, std::string message, bool unsupported = false);

  /// One expression, or several with commas between: a tuple. `conditional` allows "a if b else c".
  ExprPtr parse_tuple(bool conditional);
  ExprPtr parse_expression();
  ExprPtr parse_or();
  ExprPtr parse_postfix(ExprPtr expr);
  ExprPtr parse_primary();
  /// The filters after "|", applied to `expr`; with `inline_start` the first one has no "|".
  ExprPtr parse_filters(ExprPtr expr, bool inline_start);
  /// A node over `operands`; nulls among them are kept.
  ExprPtr make(Expr::Kind kind, Position at, std::vector<ExprPtr> operands, std::string name = {}) const;

 private:
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filters);
  ExprPtr parse_binary(std::initializer_list<std::string_view> operators, ExprPtr (ExpressionParser::*operand)());
  ExprPtr parse_power_operand() { return parse_unary(true); }
  ExprPtr parse_filters_and_tests(ExprPtr expr);
  ExprPtr parse_test(ExprPtr expr);
  ExprPtr parse_attribute(ExprPtr expr);
  ExprPtr parse_subscript(ExprPtr expr);
  ExprPtr parse_call(ExprPtr callee);
  void parse_arguments(Expr& call);
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr constant(Position at, Value value) const;
  void measure(Expr& expr) const;

  std::vector<Token> tokens_;
  std::size_t index_ = 0;
  int nesting_ = 0;
};

}  // namespace tandem::jinja
