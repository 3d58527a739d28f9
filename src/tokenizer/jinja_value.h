#pragma once
// Values of the template language: Python's, as far as templates see them. All are immutable, as in jinja2's immutable
// sandbox, but for namespaces, which the Runtime owns; so no value can come to contain itself, and none outlives its
// rendering except constants of the template, which several threads may share.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace tandem::jinja {

class Runtime;
class Value;
struct Args;
struct Sequence;
struct Dict;
struct Namespace;
struct Callable;
struct Loop;

/// A failure while a template runs. The evaluator adds the place.
struct Failure {
  std::string message;
  bool raised = false;  ///< by the template itself, through raise_exception
};

struct Undefined {
  std::shared_ptr<const std::string> why;  ///< e.g. "'x' is undefined"; null for none given
};
struct None {};

using Text = std::shared_ptr<const std::string>;
using SequencePtr = std::shared_ptr<const Sequence>;
using DictPtr = std::shared_ptr<const Dict>;
using CallablePtr = std::shared_ptr<const Callable>;
using LoopPtr = std::shared_ptr<Loop>;

class Value {
 public:
  using Variant = std::variant<Undefined, None, bool, std::int64_t, double, Text, SequencePtr, DictPtr, Namespace*,
                               CallablePtr, LoopPtr>;

  Value() = default;  ///< undefined
  template <class T>
    requires(!std::is_same_v<std::remove_cvref_t<T>, Value>)
  explicit Value(T value) : variant_(std::in_place_type<T>, std::move(value)) {}

  template <class T>
  bool is() const {
    return std::holds_alternative<T>(variant_);
  }
  template <class T>
  const T& as() const {
    return std::get<T>(variant_);
  }

  bool is_undefined() const { return is<Undefined>(); }
  bool is_none() const { return is<None>(); }
  bool is_text() const { return is<Text>(); }
  bool is_integer() const { return is<std::int64_t>() || is<bool>(); }  ///< Python's bool is an int
  bool is_number() const { return is_integer() || is<double>(); }
  bool is_sequence() const { return is<SequencePtr>(); }
  bool is_dict() const { return is<DictPtr>(); }

  const std::string& text() const { return *as<Text>(); }
  std::int64_t integer() const { return is<bool>() ? std::int64_t{as<bool>()} : as<std::int64_t>(); }
  double number() const { return is<double>() ? as<double>() : static_cast<double>(integer()); }
  const Sequence& sequence() const { return *as<SequencePtr>(); }
  const Dict& dict() const { return *as<DictPtr>(); }

 private:
  Variant variant_;
};

/// A function in C++: a filter (self is what it is applied to), a test, a method or a global (self is undefined).
using NativeFn = Value (*)(Runtime& runtime, const Value& self, const Args& args);

struct Args {
  std::string_view callee;  ///< for messages
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
};

struct Sequence {
  enum class Type {
    kList,
    kTuple,
    kRange,
    kView,       ///< of a dict: has a length, no index
    kGenerator,  ///< what filters such as map give: neither; always true. Unlike Python's it can be read twice.
  };
  Type type = Type::kList;
  std::vector<Value> items;
  int depth = 1;      ///< levels of containers, this one included
  std::string label;  ///< what a range, view or generator prints as
};

/// Keeps the order of insertion.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  std::unordered_map<std::string, std::size_t> index;  ///< from hash_key(key)
  int depth = 1;
};

/// The one mutable kind of value.
struct Namespace {
  std::map<std::string, Value, std::less<>> attributes;
};

struct MacroNode;
struct Scope;

struct Callable {
  std::string_view name;  ///< of a constant table or of the template
  Value self;
  NativeFn native = nullptr;  ///< or a macro:
  const MacroNode* macro = nullptr;
  Scope* closure = nullptr;  ///< where the macro was defined; owned by the evaluator
};

/// The variable `loop`.
struct Loop {
  SequencePtr items;
  std::size_t index0 = 0;
};

/// Levels of containers in a value: 0 for a plain one.
int depth_of(const Value& value);

/// Python's name of the type, e.g. "str".
std::string_view type_name(const Value& value);
bool is_true(const Value& value);

// These visit every element and count each against the runtime's limits.

bool equal(Runtime& runtime, const Value& a, const Value& b);
/// Negative, zero or positive; throws Failure where Python has no order (`sign` is the operator to name).
int compare(Runtime& runtime, const Value& a, const Value& b, std::string_view sign = "<");
/// A text that is equal exactly for equal values; throws Failure for lists and dicts.
std::string hash_key(Runtime& runtime, const Value& value);
/// Appends str(value), or repr(value).
void append_str(Runtime& runtime, std::string& out, const Value& value);
void append_repr(Runtime& runtime, std::string& out, const Value& value, int depth = 0);

const Value* find(Runtime& runtime, const Dict& dict, const Value& key);
/// Lookup by text key, the common case.
const Value* find(const Dict& dict, std::string_view key);

}  // namespace tandem::jinja
