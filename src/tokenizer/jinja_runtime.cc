#include "tokenizer/jinja_runtime.h"

#include <algorithm>
#include <ctime>

#include "tokenizer/jinja_text.h"

namespace tandem::jinja {

void Runtime::step(std::uint64_t n) {
  steps_ += n;
  if (steps_ > limits_.max_steps) raise("the template needs more than {} steps", limits_.max_steps);
}

void Runtime::charge(std::size_t n) {
  memory_ += n;
  if (memory_ > limits_.max_memory_bytes) {
    raise("the template needs more than {} bytes of memory", limits_.max_memory_bytes);
  }
  step(n / 64);
}

void Runtime::check_text(std::size_t size) const {
  if (size > limits_.max_text_bytes) raise("the text grows beyond {} bytes", limits_.max_text_bytes);
}

void Runtime::append(std::string& out, std::string_view text) {
  check_text(out.size() + text.size());
  step(text.size() / 64);
  out += text;
}

Value Runtime::text(std::string text) {
  check_text(text.size());
  charge(text.size() + sizeof(std::string));
  return Value(std::make_shared<const std::string>(std::move(text)));
}

namespace {

int check_depth(int depth) {
  if (depth > Runtime::kMaxDepth) raise("values are nested deeper than {} levels", Runtime::kMaxDepth);
  return depth;
}

}  // namespace

Value Runtime::sequence(Sequence::Type type, std::vector<Value> items, std::string label) {
  step(items.size());
  charge(sizeof(Sequence) + items.size() * sizeof(Value));
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, depth_of(item));
  return Value(std::make_shared<const Sequence>(
      Sequence{.type = type, .items = std::move(items), .depth = check_depth(depth + 1), .label = std::move(label)}));
}

Value Runtime::dict(std::vector<std::pair<Value, Value>> items) {
  auto dict = std::make_shared<Dict>();
  for (auto& [key, value] : items) {
    std::string hash = hash_key(*this, key);
    charge(2 * sizeof(Value) + hash.size() + 64);  // 64: a node of the index
    dict->depth = check_depth(std::max({dict->depth, depth_of(key) + 1, depth_of(value) + 1}));
    const auto [at, is_new] = dict->index.emplace(std::move(hash), dict->items.size());
    if (is_new) {
      dict->items.emplace_back(std::move(key), std::move(value));
    } else {
      dict->items[at->second].second = std::move(value);
    }
  }
  return Value(DictPtr(std::move(dict)));
}

Value Runtime::method(std::string_view name, const Value& self, NativeFn native) {
  charge(sizeof(Callable));
  check_depth(depth_of(self) + 1);
  return Value(std::make_shared<const Callable>(Callable{.name = name, .self = self, .native = native}));
}

Namespace* Runtime::make_namespace() {
  charge(sizeof(Namespace));
  return &namespaces_.emplace_back();
}

std::tm Runtime::now() const {
  if (now_) return *now_;
  const std::time_t seconds = std::time(nullptr);
  std::tm local{};
  localtime_r(&seconds, &local);
  return local;
}

std::vector<Value> Runtime::iterate(const Value& value) {
  if (value.is_undefined()) return {};
  std::vector<Value> items;
  if (value.is_sequence()) {
    items = value.sequence().items;
  } else if (value.is_dict()) {
    items.reserve(value.dict().items.size());
    for (const auto& [key, unused] : value.dict().items) items.push_back(key);
  } else if (value.is_text()) {
    // A text may have 16 Mi characters: count them before making a value of each.
    charge(count_characters(value.text()) * sizeof(Value));
    for (const std::string_view character : split_characters(value.text())) items.push_back(text(character));
    return items;
  } else {
    raise("'{}' object is not iterable", type_name(value));
  }
  step(items.size());
  charge(items.size() * sizeof(Value));
  return items;
}

std::string Runtime::str(const Value& value) {
  std::string out;
  append_str(*this, out, value);
  charge(out.size());
  return out;
}

void raise_undefined(const Value& value) {
  const auto& why = value.as<Undefined>().why;
  raise("{}", why ? *why : "the value is undefined");
}

std::size_t find_text(Runtime& runtime, std::string_view text, std::string_view needle, std::size_t begin) {
  if (needle.empty()) return begin <= text.size() ? begin : text.npos;
  std::size_t at = text.find(needle[0], begin);
  for (; at != text.npos && at + needle.size() <= text.size(); at = text.find(needle[0], at + 1)) {
    if (text.compare(at, needle.size(), needle) == 0) {
      runtime.step((at - begin) / 64);
      return at;
    }
    runtime.step(needle.size() / 16);
  }
  if (begin < text.size()) runtime.step((text.size() - begin) / 64);
  return text.npos;
}

std::vector<Value> bind(const Args& args, std::initializer_list<std::string_view> names, std::size_t required) {
  std::vector<Value> values(names.size());
  std::vector<bool> given(names.size());
  if (args.positional.size() > names.size()) {
    raise("{}() takes at most {} arguments, {} were given", args.callee, names.size(), args.positional.size());
  }
  std::copy(args.positional.begin(), args.positional.end(), values.begin());
  std::fill_n(given.begin(), args.positional.size(), true);
  for (const auto& [name, value] : args.named) {
    const auto index = static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    if (index == names.size()) raise("{}() has no parameter '{}'", args.callee, name);
    if (given[index]) raise("{}() got the parameter '{}' twice", args.callee, name);
    values[index] = value;
    given[index] = true;
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (!given[i]) raise("{}() lacks the argument '{}'", args.callee, names.begin()[i]);
  }
  return values;
}

std::int64_t to_integer(const Value& value, std::int64_t otherwise, std::string_view what) {
  if (value.is_undefined()) return otherwise;
  if (!value.is_integer()) raise("{} must be an integer, not '{}'", what, type_name(value));
  return value.integer();
}

std::string to_text(const Value& value, std::string_view otherwise, std::string_view what) {
  if (value.is_undefined()) return std::string(otherwise);
  if (!value.is_text()) raise("{} must be a string, not '{}'", what, type_name(value));
  return value.text();
}

}  // namespace tandem::jinja
