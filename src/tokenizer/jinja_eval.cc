#include "tokenizer/jinja_eval.h"

#include <algorithm>
#include <map>
#include <memory>

#include "tokenizer/jinja_natives.h"
#include "tokenizer/jinja_operators.h"

namespace tandem::jinja {

/// The variables of a loop's turn, a macro's call, a block. Blocks see their parents' variables and set their own.
struct Scope : std::enable_shared_from_this<Scope> {
  Scope* parent = nullptr;
  bool is_kept = false;  ///< by the evaluator, as a macro was defined here or below
  std::map<std::string_view, Value> variables;
};

namespace {

enum class Flow { kNormal, kBreak, kContinue };

class Evaluator {
 public:
  explicit Evaluator(Runtime& runtime) : runtime_(runtime) {}

  std::string run(const Template& tree, std::vector<std::pair<std::string, Value>> variables) {
    try {
      // Names of variables live in `variables` for as long as the scope does.
      ScopeGuard scope(*this, nullptr);
      for (auto& [name, value] : variables) scope->variables.insert_or_assign(name, std::move(value));
      std::string out;
      out_ = &out;
      execute(tree.body);
      return out;
    } catch (Failure& failure) {
      throw RenderError{at_, std::move(failure)};
    }
  }

 private:
  /// Levels of statements, expressions and macro calls under way. A level takes at most about 1 KiB of the stack,
  /// 5 KiB under AddressSanitizer.
  static constexpr int kMaxDepth = 800;

  class Level {
   public:
    explicit Level(Evaluator& evaluator) : evaluator_(evaluator) {
      if (++evaluator_.depth_ > kMaxDepth) {
        --evaluator_.depth_;
        raise("the template recurses deeper than {} levels", kMaxDepth);
      }
      evaluator_.runtime_.step();
    }
    ~Level() { --evaluator_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Evaluator& evaluator_;
  };

  /// Makes a scope below `parent` the current one while it lives. A scope that a macro sees is kept until the end: the
  /// macro may be called after its block was left.
  class ScopeGuard {
   public:
    ScopeGuard(Evaluator& evaluator, Scope* parent) : evaluator_(evaluator), outer_(evaluator.scope_) {
      evaluator.runtime_.charge(sizeof(Scope));
      scope_ = std::make_shared<Scope>();
      scope_->parent = parent;
      evaluator.scope_ = scope_.get();
    }
    ~ScopeGuard() { evaluator_.scope_ = outer_; }
    ScopeGuard(const ScopeGuard&) = delete;
    ScopeGuard& operator=(const ScopeGuard&) = delete;
    Scope* operator->() const { return scope_.get(); }

   private:
    Evaluator& evaluator_;
    Scope* outer_;
    std::shared_ptr<Scope> scope_;
  };

  // Statements.

  Flow execute(const Body& body) {
    for (const Stmt& stmt : body) {
      const Flow flow = execute(stmt);
      if (flow != Flow::kNormal) return flow;
    }
    return Flow::kNormal;
  }

  Flow execute(const Stmt& stmt) {
    const Level level(*this);
    at_ = stmt.at;
    switch (stmt.kind) {
      case Stmt::Kind::kData:
        runtime_.append(*out_, stmt.text);
        return Flow::kNormal;
      case Stmt::Kind::kOutput:
        append_str(runtime_, *out_, evaluate(*stmt.expr));
        return Flow::kNormal;
      case Stmt::Kind::kIf:
        for (const auto& [condition, body] : stmt.branches) {
          if (!condition || is_true(evaluate(*condition))) return execute(body);
        }
        return Flow::kNormal;
      case Stmt::Kind::kFor:
        return execute_for(stmt);
      case Stmt::Kind::kSet:
        assign(stmt.target, evaluate(*stmt.expr));
        return Flow::kNormal;
      case Stmt::Kind::kSetBlock: {
        Value value = capture(stmt.body);
        assign(stmt.target, stmt.expr ? evaluate_filter(*stmt.expr, &value) : std::move(value));
        return Flow::kNormal;
      }
      case Stmt::Kind::kFilter: {
        const Value value = capture(stmt.body);
        append_str(runtime_, *out_, evaluate_filter(*stmt.expr, &value));
        return Flow::kNormal;
      }
      case Stmt::Kind::kWith:
        return execute_with(stmt);
      case Stmt::Kind::kMacro:
        define(stmt.macro->name, make_macro(*stmt.macro));
        return Flow::kNormal;
      case Stmt::Kind::kCall: {
        const Value caller = make_macro(*stmt.macro);
        append_str(runtime_, *out_, evaluate_call(*stmt.expr, &caller));
        return Flow::kNormal;
      }
      case Stmt::Kind::kScope: {
        const ScopeGuard scope(*this, scope_);
        return execute(stmt.body);
      }
      case Stmt::Kind::kBreak:
        return Flow::kBreak;
      case Stmt::Kind::kContinue:
        return Flow::kContinue;
    }
    return Flow::kNormal;
  }

  Flow execute_for(const Stmt& stmt) {
    std::vector<Value> items = runtime_.iterate(evaluate(*stmt.expr));
    if (stmt.condition) {
      std::vector<Value> kept;
      for (Value& item : items) {
        const ScopeGuard scope(*this, scope_);
        assign(stmt.target, item);
        if (is_true(evaluate(*stmt.condition))) kept.push_back(std::move(item));
      }
      items = std::move(kept);
    }
    if (items.empty()) {
      const ScopeGuard scope(*this, scope_);
      return execute(stmt.otherwise);
    }
    const auto loop = std::make_shared<Loop>();
    loop->items = runtime_.list(std::move(items)).as<SequencePtr>();
    for (const Value& item : loop->items->items) {
      const ScopeGuard scope(*this, scope_);
      scope->variables.insert_or_assign("loop", Value(LoopPtr(loop)));
      assign(stmt.target, item);
      if (execute(stmt.body) == Flow::kBreak) break;
      ++loop->index0;
    }
    return Flow::kNormal;
  }

  Flow execute_with(const Stmt& stmt) {
    std::vector<Value> values;
    for (const auto& [target, expr] : stmt.assignments) values.push_back(evaluate(*expr));
    const ScopeGuard scope(*this, scope_);
    for (std::size_t i = 0; i < values.size(); ++i) assign(stmt.assignments[i].first, std::move(values[i]));
    return execute(stmt.body);
  }

  /// The output of a body in a scope of its own.
  Value capture(const Body& body) {
    const ScopeGuard scope(*this, scope_);
    return runtime_.text(capture_here(body));
  }

  std::string capture_here(const Body& body) {
    std::string text;
    std::string* const outer = std::exchange(out_, &text);
    try {
      execute(body);
    } catch (...) {
      out_ = outer;
      throw;
    }
    out_ = outer;
    return text;
  }

  void define(const std::string& name, Value value) {
    runtime_.charge(sizeof(Value) + 64);
    scope_->variables.insert_or_assign(name, std::move(value));
  }

  void assign(const Target& target, Value value) {
    at_ = target.at;
    if (!target.parts.empty()) {
      std::vector<Value> items = runtime_.iterate(value);
      if (items.size() != target.parts.size()) {
        raise("cannot unpack {} values into {} variables", items.size(), target.parts.size());
      }
      for (std::size_t i = 0; i < items.size(); ++i) assign(target.parts[i], std::move(items[i]));
    } else if (target.attribute.empty()) {
      define(target.name, std::move(value));
    } else {
      const Value holder = lookup(target.name);
      if (!holder.is<Namespace*>())
        raise("cannot assign attribute '{}': '{}' is no namespace", target.attribute, target.name);
      if (target.attribute.starts_with('_'))
        raise("the attribute '{}' of a namespace begins with '_'", target.attribute);
      runtime_.charge(sizeof(Value) + target.attribute.size() + 64);
      holder.as<Namespace*>()->attributes.insert_or_assign(target.attribute, std::move(value));
    }
  }

  // Expressions.

  Value lookup(const std::string& name) {
    for (const Scope* scope = scope_; scope; scope = scope->parent) {
      runtime_.step();
      const auto at = scope->variables.find(name);
      if (at != scope->variables.end()) return at->second;
    }
    if (const Native* global = find_global(name)) return runtime_.method(global->name, Value(), global->function);
    return runtime_.undefined(format("'{}' is undefined", name));
  }

  Value evaluate(const Expr& expr) {
    const Level level(*this);
    at_ = expr.at;
    switch (expr.kind) {
      case Expr::Kind::kConstant:
        return expr.constant;
      case Expr::Kind::kName:
        return lookup(expr.name);
      case Expr::Kind::kList:
        return runtime_.list(evaluate_all(expr.operands));
      case Expr::Kind::kTuple:
        return runtime_.sequence(Sequence::Type::kTuple, evaluate_all(expr.operands));
      case Expr::Kind::kDict:
        return evaluate_dict(expr);
      case Expr::Kind::kCall:
        return evaluate_call(expr, nullptr);
      case Expr::Kind::kFilter:
        return evaluate_filter(expr, nullptr);
      case Expr::Kind::kTest:
        return evaluate_native(expr, evaluate(*expr.operands[0]));
      case Expr::Kind::kAnd: {
        Value left = evaluate(*expr.operands[0]);
        return is_true(left) ? evaluate(*expr.operands[1]) : left;
      }
      case Expr::Kind::kOr: {
        Value left = evaluate(*expr.operands[0]);
        return is_true(left) ? left : evaluate(*expr.operands[1]);
      }
      case Expr::Kind::kNot:
        return Value(!is_true(evaluate(*expr.operands[0])));
      case Expr::Kind::kConditional:
        if (is_true(evaluate(*expr.operands[0]))) return evaluate(*expr.operands[1]);
        if (expr.operands[2]) return evaluate(*expr.operands[2]);
        return runtime_.undefined("the inline if-expression evaluated to false and no else section was defined");
      case Expr::Kind::kCompare:
        return evaluate_compare(expr);
      default:
        return evaluate_operator(expr);
    }
  }

  /// The kinds that evaluate all operands and then do one thing.
  Value evaluate_operator(const Expr& expr) {
    const std::vector<Value> operands = evaluate_all(expr.operands);
    at_ = expr.at;
    switch (expr.kind) {
      case Expr::Kind::kAttribute:
        return get_attribute(runtime_, operands[0], expr.name);
      case Expr::Kind::kItem:
        return get_item(runtime_, operands[0], operands[1]);
      case Expr::Kind::kSlice:
        return get_slice(runtime_, operands[0], operands[1], operands[2], operands[3]);
      case Expr::Kind::kUnary:
        return unary(runtime_, expr.name, operands[0]);
      case Expr::Kind::kBinary:
        return binary(runtime_, expr.name, operands[0], operands[1]);
      default: {  // kConcat
        std::string text;
        for (const Value& operand : operands) append_str(runtime_, text, operand);
        return runtime_.text(std::move(text));
      }
    }
  }

  /// Undefined for absent ones.
  std::vector<Value> evaluate_all(const std::vector<ExprPtr>& exprs) {
    std::vector<Value> values;
    values.reserve(exprs.size());
    for (const ExprPtr& expr : exprs) values.push_back(expr ? evaluate(*expr) : Value());
    return values;
  }

  Value evaluate_dict(const Expr& expr) {
    std::vector<std::pair<Value, Value>> items;
    for (std::size_t i = 0; i < expr.operands.size(); i += 2) {
      Value key = evaluate(*expr.operands[i]);
      items.emplace_back(std::move(key), evaluate(*expr.operands[i + 1]));
    }
    at_ = expr.at;
    return runtime_.dict(std::move(items));
  }

  Value evaluate_compare(const Expr& expr) {
    Value left = evaluate(*expr.operands[0]);
    for (std::size_t i = 0; i < expr.signs.size(); ++i) {
      Value right = evaluate(*expr.operands[i + 1]);
      at_ = expr.at;
      if (!compare_by(runtime_, expr.signs[i], left, right)) return Value(false);
      left = std::move(right);
    }
    return Value(true);
  }

  Args evaluate_arguments(const Expr& expr, std::string_view callee) {
    Args args{.callee = callee, .positional = evaluate_all(expr.arguments), .named = {}};
    for (const auto& [name, value] : expr.named_arguments) args.named.emplace_back(name, evaluate(*value));
    at_ = expr.at;
    return args;
  }

  /// A filter; `input` is that of the filter at the far left of the chain when that one has no operand.
  Value evaluate_filter(const Expr& expr, const Value* input) {
    if (!expr.operands[0]) return evaluate_native(expr, *input);
    const bool is_chain = expr.operands[0]->kind == Expr::Kind::kFilter;
    return evaluate_native(expr, is_chain ? evaluate_filter(*expr.operands[0], input) : evaluate(*expr.operands[0]));
  }

  /// A filter or test.
  Value evaluate_native(const Expr& expr, const Value& self) {
    return expr.native(runtime_, self, evaluate_arguments(expr, expr.name));
  }

  Value evaluate_call(const Expr& expr, const Value* caller) {
    const Value callee = evaluate(*expr.operands[0]);
    at_ = expr.at;
    if (callee.is_undefined()) raise_undefined(callee);
    if (!callee.is<CallablePtr>()) raise("'{}' object is not callable", type_name(callee));
    const Callable& callable = *callee.as<CallablePtr>();
    Args args = evaluate_arguments(expr, callable.name);
    if (caller) args.named.emplace_back("caller", *caller);
    if (callable.macro) return call_macro(*callable.macro, callable.closure, args);
    return callable.native(runtime_, callable.self, args);
  }

  Value make_macro(const MacroNode& macro) {
    for (Scope* scope = scope_; scope && !scope->is_kept; scope = scope->parent) {
      scope->is_kept = true;
      kept_scopes_.push_back(scope->shared_from_this());
    }
    runtime_.charge(sizeof(Callable));
    return Value(std::make_shared<const Callable>(Callable{.name = macro.name, .macro = &macro, .closure = scope_}));
  }

  Value call_macro(const MacroNode& macro, Scope* closure, const Args& args) {
    const std::size_t count = macro.parameters.size();
    if (args.positional.size() > count) {
      raise("macro '{}' takes at most {} arguments, {} were given", macro.name, count, args.positional.size());
    }
    const ScopeGuard scope(*this, closure);
    std::vector<bool> given(count);
    for (std::size_t i = 0; i < args.positional.size(); ++i) {
      given[i] = true;
      define(macro.parameters[i], args.positional[i]);
    }
    for (const auto& [name, value] : args.named) {
      if (name == "caller") {
        scope->variables.insert_or_assign("caller", value);
        continue;
      }
      const auto parameter = std::find(macro.parameters.begin(), macro.parameters.end(), name);
      const auto index = static_cast<std::size_t>(parameter - macro.parameters.begin());
      if (index == count) raise("macro '{}' has no parameter '{}'", macro.name, name);
      if (given[index]) raise("macro '{}' got the parameter '{}' twice", macro.name, name);
      given[index] = true;
      define(*parameter, value);
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (given[i]) continue;
      const std::size_t first_default = count - macro.defaults.size();
      define(macro.parameters[i],
             i >= first_default ? evaluate(*macro.defaults[i - first_default])
                                : runtime_.undefined(format("parameter '{}' was not provided", macro.parameters[i])));
    }
    return runtime_.text(capture_here(macro.body));
  }

  Runtime& runtime_;
  Scope* scope_ = nullptr;
  std::string* out_ = nullptr;
  Position at_;
  int depth_ = 0;
  std::vector<std::shared_ptr<Scope>> kept_scopes_;
};

}  // namespace

std::string render(const Template& tree, Runtime& runtime, std::vector<std::pair<std::string, Value>> variables) {
  return Evaluator(runtime).run(tree, std::move(variables));
}

}  // namespace tandem::jinja
