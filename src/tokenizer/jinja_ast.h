#pragma once
// A template as a tree. Nodes are plain data, immutable once parsed.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja_lexer.h"
#include "tokenizer/jinja_value.h"

namespace tandem::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Expr {
  enum class Kind {
    kConstant,     ///< constant
    kName,         ///< name
    kList,         ///< operands
    kTuple,        ///< operands
    kDict,         ///< operands: key, value, key, value ...
    kAttribute,    ///< operands[0].name
    kItem,         ///< operands[0][operands[1]]
    kSlice,        ///< operands[0][operands[1]:operands[2]:operands[3]], absent ones null
    kCall,         ///< operands[0](arguments)
    kFilter,       ///< operands[0] | native(arguments); operands[0] is null in a filter block
    kTest,         ///< operands[0] is native(arguments)
    kUnary,        ///< name operands[0], name being "-" or "+"
    kBinary,       ///< operands[0] name operands[1]
    kCompare,      ///< operands[0] signs[0] operands[1] signs[1] operands[2] ...
    kConcat,       ///< operands[0] ~ operands[1] ~ ...
    kAnd,          ///< two operands
    kOr,           ///< two operands
    kNot,          ///< one operand
    kConditional,  ///< operands[1] if operands[0] else operands[2], which may be null
  };
  Kind kind;
  Position at;
  int height = 1;  ///< of the tree below, this node included
  std::string name{};
  Value constant{};
  std::vector<ExprPtr> operands{};
  std::vector<ExprPtr> arguments{};
  std::vector<std::pair<std::string, ExprPtr>> named_arguments{};
  std::vector<std::string> signs{};
  NativeFn native = nullptr;
};

/// What a value is assigned to: a name, an attribute of a namespace, or several of them.
struct Target {
  Position at;
  std::string name;
  std::string attribute{};
  std::vector<Target> parts{};  ///< a tuple when not empty; name is then empty
};

struct Stmt;
using Body = std::vector<Stmt>;

struct MacroNode {
  std::string name;
  Position at;
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  ///< of the last parameters
  Body body;
};

struct Stmt {
  enum class Kind {
    kData,      ///< text
    kOutput,    ///< expr
    kIf,        ///< branches; the condition of an else is null
    kFor,       ///< target in expr, if condition: body; otherwise
    kSet,       ///< target = expr
    kSetBlock,  ///< target = body, through the filters of expr if it is not null
    kFilter,    ///< body through the filters of expr
    kWith,      ///< assignments, body
    kMacro,     ///< macro
    kCall,      ///< expr is the call, macro the caller
    kScope,     ///< body, in a scope of its own
    kBreak,
    kContinue,
  };
  Kind kind;
  Position at;
  std::string text{};
  ExprPtr expr{};
  ExprPtr condition{};
  Target target{};
  Body body{};
  Body otherwise{};
  std::vector<std::pair<ExprPtr, Body>> branches{};
  std::vector<std::pair<Target, ExprPtr>> assignments{};
  std::unique_ptr<MacroNode> macro{};
};

struct Template {
  Body body;
};

}  // namespace tandem::jinja
